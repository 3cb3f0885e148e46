"""The whole program on one page: discover, read, normalize, match, correlate, diagnose, report.

docs/architecture.md follows single records through it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Unpack

from evtx_analyzer import clock
from evtx_analyzer.capi2.operations import operations
from evtx_analyzer.correlate.case_facts import CaseFacts, case_facts
from evtx_analyzer.correlate.common import common_traits
from evtx_analyzer.correlate.handshake_facts import handshake_facts, wire_certificates
from evtx_analyzer.correlate.handshake_links import joined, with_certificates
from evtx_analyzer.correlate.incidents import incidents
from evtx_analyzer.correlate.links import links
from evtx_analyzer.correlate.operation_facts import operation_facts
from evtx_analyzer.correlate.session_facts import session_facts
from evtx_analyzer.diagnose.scene import Case
from evtx_analyzer.diagnose.verdict import verdict
from evtx_analyzer.diagnose.weigh import diagnose
from evtx_analyzer.discover import discover
from evtx_analyzer.discover.hashing import Digests
from evtx_analyzer.discover.log_collector import collector_bundles
from evtx_analyzer.hosts import Hosts, host_text, identify_hosts
from evtx_analyzer.ingest.capi2_scan import evidence_for, failures
from evtx_analyzer.ingest.examine import Inputs, Progress, examine, source_paths, with_digest, without_copies
from evtx_analyzer.ingest.handshake_scan import handshakes, unseen_refusals
from evtx_analyzer.ingest.ledger import Ledger, Reading, require_readable, sorted_losses
from evtx_analyzer.ingest.smtp_scan import connections, smtp_sessions
from evtx_analyzer.ingest.tallies import Tallies
from evtx_analyzer.model.events import Event, Match
from evtx_analyzer.model.evidence import Rejection
from evtx_analyzer.model.handshake import Handshake
from evtx_analyzer.model.origin import Fields
from evtx_analyzer.options import AnalysisArguments, AnalysisOptions, analysis_options
from evtx_analyzer.report.document import SCHEMA_VERSION, Options, Report, Tool
from evtx_analyzer.rules import Rules
from evtx_analyzer.sigma.match import with_signals
from evtx_analyzer.smtp.clock_skew import noted, session_clock, settled
from evtx_analyzer.smtp.compact import Keeper
from evtx_analyzer.smtp.merge import merge
from evtx_analyzer.smtp.rejections import Sighting, message_rejections, refused_replies, rejections
from evtx_analyzer.smtp.sessions import Session
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

    keeper = Keeper()
    refused = [keeper.session(item) for item in smtp_sessions(reading) if _counted(item, notes)]
    anchors = sorted([item.handshake_time or item.last for item in refused] + notes.message_times())
    checks = list(failures(reading, anchors))
    checks += evidence_for(reading, _certificates(checks, refused), checks)
    wire = handshakes(reading)
    examined = [with_digest(item) for item in examined]
    if not options.anyway:
        require_readable(examined, ledger)

    hosts = identify_hosts(
        ledger.hosts(), [item.source.path for item in examined], notes.owners(), options.host, notes.unnamed_logs
    )
    skews = notes.clocks.skews(hosts)
    merged, offsets = merge(settled(*_sightings(refused, notes.messages, hosts), skews))
    found = [item for item in merged if _within(item, options.since, options.until)]
    left_out = len(merged) - len(found)
    on_wire = joined(wire.handshakes, found)
    found = with_certificates(found, on_wire)
    # An outage has thousands of them, and what they told is in the refusals now.
    del refused, merged
    connections(reading, frozenset(item.session for item in found) - {""})
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
        shown={**notes.history.certificates, **wire_certificates(on_wire)},
        context=contexts,
        other_errors=errors,
        rejections=found,
        handshakes=on_wire,
    )
    checked = [with_signals(item, rules.signals, "chain-operation", operation_facts(item, beside)) for item in checked]
    view = partial(session_facts, background=beside)
    found = [with_signals(item, rules.signals, "smtp-session", view(item)) for item in found]
    on_wire, wire_facts = _with_facts(on_wire, found, beside, rules)
    by_id = {item.id: item for item in checked}
    grouped = incidents(found, links(found, checked, rules.links, options.window), by_id)

    waiting = [] if found or left_out else notes.contexts.losses()
    losses = sorted_losses([*ledger.losses(examined), *notes.errors.losses(), *waiting, *unseen_refusals(wire, found)])
    case = Case(
        operations=by_id,
        coverage=coverage,
        kinds=frozenset(item.kind for item in coverage),
        unread=ledger.unread(examined),
        settings=beside.places(),
        view=view,
        certificates=beside.certificates,
        handshakes=tuple(on_wire),
        wire_facts=wire_facts,
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
        common=common_traits(found, accepted_mail, notes.history.own_domains),
        handshakes=tuple(on_wire),
    )


def events(inputs: Inputs) -> Iterator[Event]:
    """Yield the typed events of all inputs, before any rule; losses are not given here, use ``analyze`` for those."""
    ledger = Ledger()
    for item in without_copies(examine(source, _silent) for source in discover(source_paths(inputs))):
        if item.syntax is not None and not item.duplicate_of:
            yield from ledger.events(item, _silent)


def _with_facts(
    handshakes: Sequence[Handshake], rejections: Sequence[Rejection], beside: CaseFacts, rules: Rules
) -> tuple[list[Handshake], dict[str, Fields]]:
    """Return the handshakes with their signals, and by id the facts of those that belong to a refusal."""
    if not handshakes:
        return [], {}
    by_id = {item.id: item for item in rejections}
    found, facts = [], {}
    for item in handshakes:
        view = handshake_facts(item, by_id.get(item.rejection or ""), beside)
        found.append(with_signals(item, rules.signals, "tls-handshake", view))
        if item.rejection is not None:
            facts[item.id] = view
    return found, facts


def _counted(session: Session, notes: Tallies) -> bool:
    """Count a session, and return whether it was refused with 5.7.64 and must be kept."""
    notes.session(session)
    return bool(refused_replies(session))


def _sightings(
    refused: Iterable[Session], messages: Iterable[Match], hosts: Hosts
) -> tuple[list[Sighting], dict[str, datetime]]:
    """Return the refusals as every log tells them, and by id the session's own clock where its hour comes twice."""
    found: list[Sighting] = []
    clocks: dict[str, datetime] = {}
    for one in refused:
        for item in rejections(one, hosts):
            found.append(item)
            if item.rejection.time_basis == "ambiguous" and (time := session_clock(one)) is not None:
                clocks[item.rejection.id] = time
    found += [item for match in messages for item in message_rejections(match, hosts)]
    return found, clocks


def _certificates(checks: Iterable[Match], refused: Iterable[Session]) -> frozenset[str]:
    """Return the thumbprints of certificates that failed, and of those that refused sessions sent or received."""
    shown = (item for session in refused for item in (session.sent, session.received) if item)
    failed = (getattr(match.event, "thumbprint", "") for match in checks)
    return frozenset({*failed, *(item.thumbprint for item in shown)} - {""})


def _within(item: Rejection, since: datetime | None, until: datetime | None) -> bool:
    """Return whether a refusal lies in the limits; one whose UTC time is not known is kept."""
    if item.time_basis in ("heading", "unknown"):
        return True
    return (since is None or item.time >= since) and (until is None or item.time <= until)


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _silent(path: str, size: int) -> None:
    """No progress is shown."""
