"""The whole program on one page: discover, read, normalize, match, correlate, diagnose, report.

docs/architecture.md follows single records through it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Unpack

from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.capi2.operations import operations
from evtx_analyzer.correlate.case_facts import case_facts
from evtx_analyzer.correlate.common import common_traits
from evtx_analyzer.correlate.folded_signals import with_view_signals
from evtx_analyzer.correlate.incidents import incidents, split
from evtx_analyzer.correlate.links import links
from evtx_analyzer.correlate.operation_facts import operation_facts
from evtx_analyzer.correlate.session_facts import session_facts
from evtx_analyzer.diagnose.scene import Case
from evtx_analyzer.diagnose.verdict import verdict
from evtx_analyzer.diagnose.weigh import diagnose
from evtx_analyzer.discover import discover
from evtx_analyzer.discover.hashing import Digests
from evtx_analyzer.discover.log_collector import collector_bundles
from evtx_analyzer.hosts import host_text, identify_hosts
from evtx_analyzer.ingest.capi2_scan import evidence_for, failures
from evtx_analyzer.ingest.examine import (
    Inputs,
    Progress,
    examine,
    is_event_log,
    source_paths,
    with_digest,
    without_copies,
)
from evtx_analyzer.ingest.ledger import Ledger, Reading, require_readable, sorted_losses
from evtx_analyzer.ingest.smtp_scan import connections, smtp_sessions
from evtx_analyzer.ingest.tallies import Tallies
from evtx_analyzer.model.alike import Alike
from evtx_analyzer.model.events import Event, Match
from evtx_analyzer.model.evidence import Rejection
from evtx_analyzer.options import AnalysisArguments, AnalysisOptions, analysis_options
from evtx_analyzer.report.document import SCHEMA_VERSION, Options, Report, Tool
from evtx_analyzer.rules import Rules
from evtx_analyzer.sigma.match import with_signals
from evtx_analyzer.smtp.clock_skew import noted, settled
from evtx_analyzer.smtp.folding import Folding
from evtx_analyzer.smtp.merge import merge
from evtx_analyzer.smtp.rejections import message_rejections, refused_replies
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
    core, at most four): beside the analysis, files are hashed and archives unpacked. Raises InputError where nothing
    can be read (with ``anyway`` such a report is given instead), OptionError for an option that cannot be used,
    RuleSetError for wrong rules.
    """
    return analyze_case(inputs, analysis_options(**arguments), progress)


def analyze_case(inputs: Inputs, options: AnalysisOptions, progress: Progress | None = None) -> Report:
    """Analyze one case as ``analyze`` does, with its options as one value."""
    tell = progress or _silent
    rules = options.rules or Rules.load()
    sources = discover(source_paths(inputs), options.limits, options.password, options.leave_out)
    ahead = options.helpers > 0
    digests = Digests(options.helpers) if ahead else None
    examined = without_copies(examine(source, tell, digests) for source in sources)
    ledger, notes = Ledger(clock.zone(options.tz) if options.tz else None, ahead=ahead), Tallies()
    reading = Reading(examined, rules, ledger, notes, tell, options.prefilter)

    refused = notes.refused
    for session in smtp_sessions(reading):
        notes.session(session)
        if refused_replies(session):
            refused.add(session)
    anchors = sorted(refused.anchors() + notes.message_times()) if any(map(is_event_log, examined)) else []
    checks = list(failures(reading, anchors))
    checks += evidence_for(reading, _certificates(checks, refused), checks)
    examined = [with_digest(item) for item in examined]
    if not options.anyway:
        require_readable(examined, ledger)

    hosts = identify_hosts(
        ledger.hosts(), [item.source.path for item in examined], notes.owners(), options.host, notes.unnamed_logs
    )
    skews = notes.clocks.skews(hosts)
    messages = [item for match in notes.messages for item in message_rejections(match, hosts)]
    sightings, alone = refused.resolved(hosts, messages)
    merged, offsets = merge(settled([*sightings, *messages], refused.clocks, skews))
    count = len(merged) + sum(map(len, alone))
    found, alike = split(
        [item for item in merged if _within(item, options.since, options.until)],
        [part for group in alone if len(part := _limited(group, options.since, options.until))],
        refused.files,
    )
    left_out = count - len(found) - sum(map(len, alike))
    # An outage has thousands of them, and what they told is in the refusals now.
    del sightings, messages, merged, alone
    names = chain((item.session for item in found), (item.session for group in alike for item in group.differing()))
    connections(reading, names)
    coverage = noted(ledger.coverage(), skews, ledger.local_notes(), offsets)
    checked = operations(checks, hosts, coverage)
    deliveries = notes.history.deliveries(hosts)
    errors, contexts = notes.errors.rows(hosts), notes.contexts.rows(hosts)
    accepted_mail = notes.history.accepted_mail(hosts)
    beside = case_facts(
        notes.exported,
        checked,
        deliveries,
        accepted_mail=accepted_mail,
        tls_failures=notes.history.tls_failures(hosts),
        shown=notes.history.certificates,
        context=contexts,
        other_errors=errors,
        rejections=[*found, *(next(group.rejections()) for group in alike)],
    )
    checked = [with_signals(item, rules.signals, "chain-operation", operation_facts(item, beside)) for item in checked]
    view = partial(session_facts, background=beside)
    found = [with_signals(item, rules.signals, "smtp-session", view(item)) for item in found]
    alike = with_view_signals(alike, rules.signals, beside)
    by_id = {item.id: item for item in checked}
    linked = links(found, checked, rules.links, options.window, alike)
    grouped = incidents(found, linked, by_id, alike)

    waiting = [] if grouped or left_out else notes.contexts.losses()
    losses = sorted_losses([*ledger.losses(examined), *notes.errors.losses(), *waiting])
    case = Case(
        operations=by_id,
        coverage=coverage,
        kinds=frozenset(item.kind for item in coverage),
        unread=ledger.unread(examined),
        settings=beside.places(),
        view=view,
        certificates=beside.certificates,
        tz=options.tz,
    )
    findings, graded = diagnose(grouped, rules.causes, case)
    return Report(
        schema_version=SCHEMA_VERSION,
        tool=Tool(name="evtx-analyzer", version=VERSION),
        options=Options(
            window=options.window,
            host=host_text(options.host),
            tz=options.tz,
            since=_text(options.since),
            until=_text(options.until),
            rules=rules.added or None,
        ),
        verdict=verdict(findings, grouped, case, len(losses), left_out),
        findings=tuple(findings),
        incidents=tuple(graded),
        operations=tuple(checked),
        deliveries=deliveries,
        other_errors=errors,
        context=contexts,
        clocks=skews,
        sources=tuple(ledger.status(item) for item in examined),
        coverage=tuple(coverage),
        losses=losses,
        bundles=tuple(collector_bundles(sources)),
        common=common_traits(found, accepted_mail, notes.history.own_domains, alike),
    )


def events(inputs: Inputs) -> Iterator[Event]:
    """Yield the typed events of all inputs, before any rule; losses are not given here, use ``analyze`` for those."""
    ledger = Ledger()
    for item in without_copies(examine(source, _silent) for source in discover(source_paths(inputs))):
        if item.syntax is not None and not item.duplicate_of:
            yield from ledger.events(item, _silent)


def _certificates(checks: Iterable[Match], refused: Folding) -> frozenset[str]:
    """Return the thumbprints of certificates that failed, and of those that refused sessions sent or received."""
    failed = (getattr(match.event, "thumbprint", "") for match in checks)
    return frozenset({*failed, *(item.thumbprint for item in refused.certificates())} - {""})


def _limited(group: Alike, since: datetime | None, until: datetime | None) -> Alike:
    """Return the refusals that lie in the limits, of those that are alike; their UTC time is known."""
    if since is None and until is None:
        return group
    pairs = zip(group.differing(), group.rows, strict=True)
    kept = [row for item, row in pairs if _is_between(item.time, since, until)]
    return replace(group, rows=kept)


def _within(item: Rejection, since: datetime | None, until: datetime | None) -> bool:
    """Return whether a refusal lies in the limits; one whose UTC time is not known is kept."""
    if item.time_basis in ("heading", "unknown"):
        return True
    return _is_between(item.time, since, until)


def _is_between(time: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or time >= since) and (until is None or time <= until)


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _silent(path: str, size: int) -> None:
    """No progress is shown."""
