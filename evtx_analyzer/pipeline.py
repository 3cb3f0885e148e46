"""The whole program on one page: ``analyze_with_evidence`` has its stages, one after the other.

docs/architecture.md says what each stage knows, and follows single records through them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple, Unpack

from evtx_analyzer.capi2.operations import operations
from evtx_analyzer.correlate.case_facts import CaseFacts, known_certificates
from evtx_analyzer.correlate.common import common_traits
from evtx_analyzer.correlate.correlation import Correlation, correlate
from evtx_analyzer.correlate.handshake_facts import recorded_times
from evtx_analyzer.correlate.session_facts import session_facts
from evtx_analyzer.diagnose.scene import Case
from evtx_analyzer.diagnose.verdict import verdict
from evtx_analyzer.diagnose.weigh import diagnose
from evtx_analyzer.diagnose.wording import SHOWN_FIELDS
from evtx_analyzer.discover import discover
from evtx_analyzer.discover.log_collector import collector_bundles
from evtx_analyzer.hosts import Hosts, host_text
from evtx_analyzer.ingest.account import SourceAccount
from evtx_analyzer.ingest.case_account import cut_properties
from evtx_analyzer.ingest.events import events as typed_events
from evtx_analyzer.ingest.evidence import Account, CaseEvidence, ingest
from evtx_analyzer.ingest.examine import Inputs, examine, source_paths, without_copies
from evtx_analyzer.ingest.streams import Progress, silent
from evtx_analyzer.local_addresses import of_one_machine
from evtx_analyzer.model.events import Event, Setting
from evtx_analyzer.model.evidence import ClockSkew, Operation
from evtx_analyzer.model.stores import StoreChain
from evtx_analyzer.options import AnalysisArguments, AnalysisOptions, analysis_options
from evtx_analyzer.repair.judge import RepairCase, lost_in_smtp_logs, repair_of
from evtx_analyzer.repair.later import Later
from evtx_analyzer.report.document import SCHEMA_VERSION, Options, Report, Tool
from evtx_analyzer.rules import Rules
from evtx_analyzer.smtp.folding import Recorded
from evtx_analyzer.smtp.refusals import Refusals, refusals
from evtx_analyzer.stores.assemble import assemble
from evtx_analyzer.stores.views import store_chains
from evtx_analyzer.version import VERSION


def analyze(inputs: Inputs, *, progress: Progress | None = None, **arguments: Unpack[AnalysisArguments]) -> Report:
    """Analyze one case: a file, a folder, or several of these.

    ``window`` replaces the seconds before and after the handshake in which a CAPI2 event may lie; ``host`` names the
    machine of SMTP logs: one name for all, or by pattern of their path (``{"EX01*": "EX01"}``, ``["EX01*=EX01"]``);
    ``tz`` is the IANA time zone of logs in local time; ``since`` and ``until`` (aware) limit the refusals. ``limits``
    bounds what archives may unpack to; ``leave_out`` are files that are no input, such as an earlier report;
    ``password`` opens encrypted members. ``progress`` is called with a source's path and a number of bytes read.
    ``prefilter=False`` decodes every event and reads every row one by one, also those that no rule can match: slower,
    with the same report but for ``coverage[].read``. ``jobs`` is how many threads work at once (default: one per
    core, at most four): files are hashed and archives unpacked while the analysis runs. Raises InputError if nothing
    can be read (with ``anyway`` it returns a report of losses instead), OptionError for an option that cannot be used,
    RuleSetError for wrong rules.
    """
    return analyze_case(inputs, analysis_options(**arguments), progress)


def analyze_case(inputs: Inputs, options: AnalysisOptions, progress: Progress | None = None) -> Report:
    """Analyze one case as ``analyze`` does, with its options as one value."""
    return analyze_with_evidence(inputs, options, progress).report


class Analyzed(NamedTuple):
    """A report, and what its logs show of the time after the refusals, by which a repair is judged."""

    report: Report
    later: Later


def analyze_with_evidence(inputs: Inputs, options: AnalysisOptions, progress: Progress | None = None) -> Analyzed:
    """Analyze one case, and keep what ``evtx-analyzer verify`` needs of it."""
    rules = options.rules or Rules.load()
    # discover, then (in ``ingest``, source by source) read, normalize and match
    sources = discover(source_paths(inputs), options.limits, options.password, options.leave_out)
    evidence = ingest(sources, rules, options, progress or silent)
    # What was collected from all sources: machines and clocks are known now, and sessions become refusals.
    hosts = evidence.hosts(options.host)
    clocks = evidence.tallies.clocks.skews(hosts)
    limits, recorded = (options.since, options.until), Recorded(recorded_times(evidence.wire.handshakes))
    refused = refusals(evidence.refused, evidence.tallies.messages, hosts, clocks, limits, recorded)
    # An outage has thousands of sessions, and what they say is in the rejections now.
    evidence.refused.clear()
    evidence.read_connections(refused.sessions())
    account = evidence.account(refused, clocks)
    # correlate: refusals with certificate checks, network traces and certificate stores
    facts = _facts(evidence, hosts, refused, operations(evidence.checks, hosts, account.coverage), clocks)
    joined = correlate(facts, rules, options.window, SHOWN_FIELDS)
    stores = assemble(evidence.tallies.exported, hosts, evidence.manifests.export_times())
    chains = store_chains(joined.incidents, stores, evidence.tallies.exported, facts, rules.signals)
    # diagnose
    case = _case(joined, account, options, chains, evidence.manifests.uncollected())
    findings, incidents = diagnose(joined.incidents, rules.causes, case)
    # Exports have no time of their own: what they show is not later than the refusals of the same input.
    judged = repair_of(
        RepairCase(incidents=incidents, findings=findings, operations=joined.operations, causes=rules.causes),
        Later(facts=facts),
        lossy=refused.left_out > 0 or lost_in_smtp_logs(account.losses, account.sources),
    )
    # report
    report = Report(
        schema_version=SCHEMA_VERSION,
        tool=Tool(name="evtx-analyzer", version=VERSION),
        options=_shown(options, rules),
        verdict=verdict(judged.findings, judged.incidents, case, len(account.losses), refused.left_out, judged.repair),
        findings=tuple(judged.findings),
        incidents=tuple(judged.incidents),
        operations=tuple(joined.operations.values()),
        deliveries=facts.deliveries,
        other_errors=facts.other_errors,
        context=facts.context,
        clocks=clocks,
        sources=account.sources,
        coverage=account.coverage,
        losses=account.losses,
        handshakes=tuple(joined.handshakes),
        bundles=(*collector_bundles(sources), *evidence.manifests.reported()),
        common=common_traits(
            refused.rejections, facts.accepted_mail, evidence.tallies.history.own_domains, refused.alike
        ),
        stores=tuple(store.store for store in stores),
        store_chains=chains,
        # Nobody asked whether a fix worked where no fix is in the logs.
        repair=judged.repair if judged.fixed else None,
    )
    return Analyzed(report, Later(facts=facts, objects=facts.objects))


def events(inputs: Inputs) -> Iterator[Event]:
    """Yield the typed events of all inputs, before any rule. Losses stand only in the report of ``analyze``."""
    for examined in without_copies(examine(source, silent) for source in discover(source_paths(inputs))):
        if examined.syntax is not None and not examined.duplicate_of:
            yield from typed_events(SourceAccount(examined))


def _facts(
    evidence: CaseEvidence,
    hosts: Hosts,
    refused: Refusals,
    checks: Sequence[Operation],
    clocks: tuple[ClockSkew, ...],
) -> CaseFacts:
    """Gather what refusals are compared with: exports, checks, the delivery history, other errors and events."""
    tallies, handshakes = evidence.tallies, tuple(evidence.wire.handshakes)
    exported, shown = tallies.exported, tallies.history.certificates
    return CaseFacts(
        settings=tuple(event for event in exported if isinstance(event, Setting)),
        certificates=known_certificates(exported, shown, checks, handshakes),
        deliveries=tallies.history.deliveries(hosts),
        accepted_mail=tallies.history.accepted_mail(hosts),
        refused_from=tallies.history.refused_from(hosts),
        machines=of_one_machine(tallies.unnamed_logs),
        tls_failures=tallies.history.tls_failures(hosts),
        operations=tuple(checks),
        context=tallies.contexts.rows(hosts),
        other_errors=tallies.errors.rows(hosts),
        rejections=refused.rejections,
        alike=refused.alike,
        handshakes=handshakes,
        clocks=clocks,
    )


def _case(
    joined: Correlation,
    account: Account,
    options: AnalysisOptions,
    chains: Sequence[StoreChain],
    uncollected: Sequence[tuple[str, str]],
) -> Case:
    """Return the facts that all incidents share, for the causes."""
    return Case(
        operations=joined.operations,
        coverage=account.coverage,
        kinds=frozenset(coverage.kind for coverage in account.coverage),
        unread=account.unread,
        settings=joined.facts.places(),
        cut=frozenset(setting.cmdlet for setting in joined.facts.settings if cut_properties(setting)),
        schannel=joined.facts.schannel,
        views=joined.views,
        view=partial(session_facts, background=joined.facts),
        certificates=joined.facts.certificates,
        handshakes=joined.handshakes,
        wire_facts=joined.wire_facts,
        tz=options.tz,
        stores=chains,
        uncollected=uncollected,
    )


def _shown(options: AnalysisOptions, rules: Rules) -> Options:
    """Return the options that change what a report says, as it names them."""
    since, until = options.since, options.until
    return Options(
        window=options.window,
        host=host_text(options.host),
        tz=options.tz,
        since=None if since is None else since.isoformat(),
        until=None if until is None else until.isoformat(),
        rules=rules.added or None,
        config=options.config,
    )
