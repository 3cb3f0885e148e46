"""The whole program on one page: discover, read, normalize, match, correlate, diagnose, report.

SMTP logs are read once: sessions and messages pass by, refused ones stay, the others are counted. CAPI2 exports are
read two or three times: first for the failures that the signals look for; then, when it is known which certificates
matter (those that failed and those that refused sessions sent), for everything that the log says of these and for the
rest of the tasks in which it said so, for retrievals and revocation checks name other certificates or none; and once
more for such tasks that were only then found. So memory is bounded by the evidence.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from msgspec.structs import replace

from evtx_analyzer import clock, diagnose
from evtx_analyzer.correlate.background import background, operation_fields, rejection_fields
from evtx_analyzer.correlate.chains import operations
from evtx_analyzer.correlate.clocks import noted, session_clock, settled
from evtx_analyzer.correlate.context import CONNECTIVITY
from evtx_analyzer.correlate.history import routine
from evtx_analyzer.correlate.hosts import Given, Hosts, survey
from evtx_analyzer.correlate.incidents import incidents
from evtx_analyzer.correlate.keeping import Keeper
from evtx_analyzer.correlate.links import links
from evtx_analyzer.correlate.merging import merge
from evtx_analyzer.correlate.notes import IIS, SEND, Notes
from evtx_analyzer.correlate.rejections import Told, message_rejections, refusals, rejections
from evtx_analyzer.correlate.sessions import OpenSessions, Session, sessions
from evtx_analyzer.correlate.sessions import tell as session
from evtx_analyzer.discover import Input, Limits, Source, discover, folders
from evtx_analyzer.discover.collector import collector_bundles
from evtx_analyzer.discover.digests import Digests
from evtx_analyzer.errors import InputError, OptionError
from evtx_analyzer.intake import (
    Examined,
    Ledger,
    Progress,
    Wanted,
    examine,
    is_event_log,
    is_text_log,
    with_digest,
    without_copies,
)
from evtx_analyzer.match import Signal, matches, recognized
from evtx_analyzer.model import Capi2Event, ContextEvent, Event, LogRow, Match, Origin, Rejection, Routine, SmtpEvent
from evtx_analyzer.normalize import normalize
from evtx_analyzer.normalize.capi2 import KIND
from evtx_analyzer.read import Record
from evtx_analyzer.read.evtx_needles import holding, naming
from evtx_analyzer.read.shapes import Shapes
from evtx_analyzer.report.document import SCHEMA_VERSION, Options, Report, Tool, sorted_losses
from evtx_analyzer.rules import Rules
from evtx_analyzer.version import VERSION

_THUMBPRINT = re.compile(r"fileRef=[\"']([0-9A-Fa-f]{40})\b")
_TASK = re.compile(r"TaskId=[\"']([^\"']+)")
_MOST_JOBS = 4
Inputs = Input | Sequence[Input]
HostNames = str | Sequence[str] | Mapping[str, str]


def analyze(
    inputs: Inputs,
    *,
    rules: Rules | None = None,
    window: tuple[float, float] | None = None,
    host: HostNames | None = None,
    tz: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limits: Limits | None = None,
    password: bytes | None = None,
    anyway: bool = False,
    leave_out: Collection[str | os.PathLike[str]] = (),
    prefilter: bool = True,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Analyze one case: a file, a folder, or several of these.

    ``window`` replaces the seconds before and after the handshake in which a CAPI2 event may lie; ``host`` names the
    machine of SMTP logs: one name for all, or by pattern of their path (``{"EX01*": "EX01"}``, ``["EX01*=EX01"]``);
    ``tz`` is the IANA time zone of logs in local time; ``since`` and ``until`` (aware) limit the refusals. ``limits``
    bounds what archives may unpack to; ``leave_out`` are files that are no input, such as an earlier report;
    ``password`` opens encrypted members. ``progress`` is called with a source's path and a number of bytes read.
    ``prefilter=False`` decodes every event and reads every row one by one, also those that no rule can match: slower,
    with the same report. ``jobs`` is how many threads work at once (default: one per core, at most four): beside the
    analysis, files are hashed and archives unpacked. Raises InputError where nothing can be read (with ``anyway`` such
    a report is given instead), OptionError for an option that cannot be used, RuleSetError for wrong rules.
    """
    rules = rules or Rules.load()
    given = _given(host)
    tell = progress or _silent
    sources = discover(_paths(inputs), limits, password, leave_out)
    if jobs is not None and jobs < 1:
        raise OptionError(f"jobs={jobs}: expected a number of threads from 1 on")
    others = (jobs or min(os.cpu_count() or 1, _MOST_JOBS)) - 1
    digests = Digests(others) if others > 0 else None
    examined = without_copies(examine(source, tell, digests) for source in sources)
    ledger, notes = Ledger(clock.zone(tz) if tz else None, ahead=others > 0), Notes()

    keeper = Keeper()
    passing = _sessions(examined, rules, ledger, notes, tell, prefilter=prefilter)
    refused = [keeper.session(item) for item in passing if _counted(item, notes)]
    anchors = sorted([item.handshake_time or item.last for item in refused] + notes.message_times())
    likely = _Likely()
    checks = list(_failures(examined, rules, ledger, notes, anchors, tell, likely, prefilter=prefilter))
    certificates = _certificates(checks, refused)
    checks += _details(
        examined, rules, ledger, certificates, checks, tell, likely.tasks(certificates), prefilter=prefilter
    )
    examined = [with_digest(item) for item in examined]
    if not anyway:
        require_readable(examined, ledger)

    hosts = survey(ledger.hosts(), [item.source.path for item in examined], notes.owners(), given, notes.nameless)
    skews = notes.clocks.skews(hosts)
    merged, offsets = merge(settled(*_told(refused, notes.messages, hosts), skews))
    found = [item for item in merged if _within(item, since, until)]
    left_out = len(merged) - len(found)
    # An outage has thousands of them, and what they told is in the refusals now.
    del refused, merged
    _connections(examined, ledger, notes, frozenset(item.session for item in found) - {""}, tell)
    coverage = noted(ledger.coverage(), skews, ledger.local_notes(), offsets)
    checked = operations(checks, hosts, coverage)
    deliveries = notes.history.deliveries(hosts)
    beside = background(notes.aside, checked, deliveries)
    checked = [recognized(item, rules.signals, "chain-operation", operation_fields(item, beside)) for item in checked]
    view = partial(rejection_fields, background=beside)
    found = [recognized(item, rules.signals, "smtp-session", view(item)) for item in found]
    by_id = {item.id: item for item in checked}
    grouped = incidents(found, links(found, checked, rules.links, window), by_id)

    losses = sorted_losses(ledger.losses(examined))
    case = diagnose.Case(
        operations=by_id,
        coverage=coverage,
        kinds=frozenset(item.kind for item in coverage),
        settings=beside.places(),
        view=view,
        certificates=beside.certificates,
    )
    findings, graded = diagnose.diagnosed(grouped, rules.causes, case)
    return Report(
        schema_version=SCHEMA_VERSION,
        tool=Tool(name="evtx-analyzer", version=VERSION),
        options=Options(
            window=window,
            host=_host_text(given),
            tz=tz,
            since=_text(since),
            until=_text(until),
            rules=rules.added or None,
        ),
        verdict=diagnose.verdict(findings, grouped, case, len(losses), left_out),
        findings=tuple(findings),
        incidents=tuple(graded),
        operations=tuple(checked),
        deliveries=deliveries,
        other_errors=notes.errors.rows(hosts),
        context=notes.contexts.rows(hosts),
        clocks=skews,
        sources=tuple(ledger.status(item) for item in examined),
        coverage=tuple(coverage),
        losses=losses,
        bundles=tuple(collector_bundles(sources)),
    )


def events(inputs: Inputs) -> Iterator[Event]:
    """The typed events of all inputs, lazily, before any rule; losses are not told here, use ``analyze`` for those."""
    ledger = Ledger()
    for item in without_copies(examine(source, _silent) for source in discover(_paths(inputs))):
        if item.syntax is not None and not item.duplicate_of:
            yield from ledger.events(item, _silent)


def _sessions(
    examined: Iterable[Examined], rules: Rules, ledger: Ledger, notes: Notes, tell: Progress, *, prefilter: bool
) -> Iterator[Session]:
    """Sessions of all SMTP logs; those of one folder are read as one log, for sessions cross files.

    Sessions that went well are counted in bulk, unless a signal looks for something in them.
    """
    by_path = {item.source.path: item for item in examined if is_text_log(item)}
    in_bulk = prefilter and all(_looks_for_failure(item) for item in rules.signals if item.kind in (SEND, IIS))
    for group in folders(item.source for item in by_path.values()).values():
        running: OpenSessions = {}
        shapes = Shapes(partial(_routine, rules), partial(_names, running)) if in_bulk else None
        rows = (event for source in group for event in ledger.events(by_path[source.path], tell, shapes=shapes))
        yield from sessions(notes.protocol(matches(rows, rules.signals)), running)


def _names(running: OpenSessions) -> list[str]:
    """Names of sessions that have begun."""
    return [name for *_, name in running]


def _looks_for_failure(signal: Signal) -> bool:
    """Whether a signal of Send or IIS logs can only match replies that say no."""
    who, what = ("event", "data") if signal.kind == SEND else ("cs-username", "cs-uri-query")
    says = {SEND: "<", IIS: "outboundconnectionresponse"}[signal.kind]
    return signal.openings.get(who) == says and signal.openings.get(what, "")[:1] in ("4", "5")


def _routine(rules: Rules, rows: Sequence[LogRow]) -> Routine | None:
    """What a session adds to the delivery history if nothing in it failed, told from its rows."""
    events = [found[1] for row in rows if (found := normalize(row)) is not None]
    told = list(matches((event for event in events if isinstance(event, SmtpEvent)), rules.signals))
    return routine(session(told)) if len(told) == len(rows) else None


def _counted(session: Session, notes: Notes) -> bool:
    """Count a session; whether it was refused with 5.7.64 and must be kept."""
    notes.session(session)
    return bool(refusals(session))


def _told(
    refused: Iterable[Session], messages: Iterable[Match], hosts: Hosts
) -> tuple[list[Told], dict[str, datetime]]:
    """Refusals as every log tells them; by id the session's own clock where the hour that it names comes twice."""
    found: list[Told] = []
    clocks: dict[str, datetime] = {}
    for one in refused:
        for item in rejections(one, hosts):
            found.append(item)
            if item.rejection.time_basis == "ambiguous" and (time := session_clock(one)) is not None:
                clocks[item.rejection.id] = time
    found += [item for match in messages for item in message_rejections(match, hosts)]
    return found, clocks


def _connections(
    examined: Iterable[Examined], ledger: Ledger, notes: Notes, refused: frozenset[str], tell: Progress
) -> None:
    """Read connectivity logs again, for what they say of the sessions that were refused."""

    def wanted(record: Record) -> bool:
        return getattr(record, "values", {}).get("session", "") in refused

    for item in examined:
        if refused and CONNECTIVITY in ledger.kinds(item):
            for event in ledger.events(item, tell, wanted):
                if isinstance(event, ContextEvent):
                    notes.contexts.add(event)


def _failures(
    examined: Iterable[Examined],
    rules: Rules,
    ledger: Ledger,
    notes: Notes,
    anchors: Sequence[datetime],
    tell: Progress,
    likely: _Likely,
    *,
    prefilter: bool,
) -> Iterator[Match]:
    """First pass over CAPI2: events that links look for by name, and by time where they are near a refusal."""
    by_name = {rule.operation_signal for rule in rules.links if rule.basis == "subject"}
    by_time = {rule.operation_signal: rule for rule in rules.links if rule.basis == "time"}
    reach = max((max(rule.before, rule.after) for rule in by_time.values()), default=0.0)
    sought = by_name | (set(by_time) if anchors else set())
    clauses = [item.clauses for item in rules.signals if item.kind == KIND and item.name in sought]
    chunks = holding(clauses) if prefilter else None
    for item in filter(is_event_log, examined):
        for match in matches(notes.events(ledger.events(item, tell, chunks=chunks, beside=likely.add)), rules.signals):
            names = set(match.signals)
            time = getattr(match.event, "time", None)
            if names & by_name or (names & set(by_time) and time is not None and _near(time, anchors, reach)):
                yield match


def _details(
    examined: Iterable[Examined],
    rules: Rules,
    ledger: Ledger,
    certificates: frozenset[str],
    checks: Iterable[Match],
    tell: Progress,
    likely: frozenset[str],
    *,
    prefilter: bool,
) -> list[Match]:
    """Second pass over CAPI2: everything that the log says of the certificates that matter; third: of their tasks.

    Tasks that are ``likely`` to be these are looked for in the second pass already, and the third is only made for
    others. ``checks`` are what the first pass gave: no record is typed and matched twice.
    """
    if not certificates:
        return []
    known = {match.event.origin: match for match in checks}
    likely |= _tasks(known.values())
    naming_tasks: dict[Origin, frozenset[str]] = {}

    def wanted(record: Record) -> bool:
        if not _named(_THUMBPRINT, record) & certificates:
            tasks = _named(_TASK, record) & likely
            if tasks:
                naming_tasks[_without_record(record.origin)] = tasks
            return bool(tasks)
        return True

    given = _again(examined, rules, ledger, wanted, certificates | likely, known, tell, prefilter=prefilter)
    tasks_of = [naming_tasks.get(_without_record(match.event.origin)) for match in given]
    tasks = _tasks(match for match, named in zip(given, tasks_of, strict=True) if named is None)
    found = [match for match, named in zip(given, tasks_of, strict=True) if named is None or named & tasks]
    others = tasks - likely
    if others:
        known |= {match.event.origin: match for match in given}

        def of_others(record: Record) -> bool:
            return bool(_named(_TASK, record) & others)

        found += _again(examined, rules, ledger, of_others, others, known, tell, prefilter=prefilter)
    return found


def _again(
    examined: Iterable[Examined],
    rules: Rules,
    ledger: Ledger,
    wanted: Wanted,
    names: frozenset[str],
    known: Mapping[Origin, Match],
    tell: Progress,
    *,
    prefilter: bool,
) -> list[Match]:
    """Events of a later pass over CAPI2: of records that ``wanted`` accepts, all of which hold one of the names.

    Only files that hold CAPI2 are read. The matches of ``known`` events are given as they are.
    """
    same: list[Match] = []

    def new(record: Record) -> bool:
        if not wanted(record):
            return False
        match = known.get(record.origin)
        if match is not None:
            same.append(match)
        return match is None

    chunks = naming(names) if prefilter else None
    logs = (item for item in examined if is_event_log(item) and KIND in ledger.kinds(item))
    found = (event for item in logs for event in ledger.events(item, tell, new, chunks))
    return [*matches(found, rules.signals), *same]


def _named(pattern: re.Pattern[str], record: Record) -> frozenset[str]:
    """What a record's text names where the pattern looks."""
    return _found(pattern, getattr(record, "xml", ""))


def _found(pattern: re.Pattern[str], text: str) -> frozenset[str]:
    return frozenset(name.upper() for name in pattern.findall(text))


def _tasks(found: Iterable[Match]) -> frozenset[str]:
    """The tasks that events belong to."""
    return frozenset(event.task_id for match in found if isinstance(event := match.event, Capi2Event)) - {""}


def _without_record(origin: Origin) -> Origin:
    """The place of a record in its file; a reader of XML may learn the record's number later."""
    return replace(origin, record=None)


class _Likely:
    """Tasks that say something of the certificates of failed checks, as far as that shows in the chunks around these.

    Only what the second pass looks for beside the certificates depends on it, not what is found in the end. Grows with
    the failed checks.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, set[str]] = {}

    def add(self, failed: Sequence[str], every: Sequence[str]) -> None:
        """Note the tasks of all records of a chunk that name the same certificates as those that failed."""
        names = frozenset[str]().union(*(_found(_THUMBPRINT, xml) for xml in failed))
        for xml in every:
            for name in names & _found(_THUMBPRINT, xml):
                self._tasks.setdefault(name, set()).update(_found(_TASK, xml))

    def tasks(self, certificates: frozenset[str]) -> frozenset[str]:
        """Those of certain certificates."""
        return frozenset[str]().union(*(self._tasks.get(name, ()) for name in certificates))


def _certificates(checks: Iterable[Match], refused: Iterable[Session]) -> frozenset[str]:
    """Thumbprints of the certificates that failed, and of those that refused sessions sent or received."""
    shown = (item for session in refused for item in (session.sent, session.received) if item)
    failed = (getattr(match.event, "thumbprint", "") for match in checks)
    return frozenset({*failed, *(item.thumbprint for item in shown)} - {""})


def _near(time: datetime, anchors: Sequence[datetime], reach: float) -> bool:
    """Whether a time lies within a few seconds of any refused handshake."""
    slack = timedelta(seconds=reach + 1)
    place = bisect_left(anchors, time - slack)
    return place < len(anchors) and anchors[place] <= time + slack


def _within(item: Rejection, since: datetime | None, until: datetime | None) -> bool:
    """Whether a refusal lies in the limits; one whose UTC time is not known is kept."""
    if item.time_basis == "unknown":
        return True
    return (since is None or item.time >= since) and (until is None or item.time <= until)


def require_readable(examined: Sequence[Examined], ledger: Ledger) -> None:
    """Raise InputError where no source could be read; after all of them were."""
    statuses = [ledger.status(item) for item in examined]
    if any(item.status in ("read", "partial") for item in statuses):
        return
    expected = "expected a CAPI2 Operational export (.evtx or XML), SMTP logs, message tracking or reports"
    if not statuses:
        raise InputError(f"the input holds no file; {expected}")
    shown = "; ".join(f"{item.path}: {item.reason}" for item in statuses[:3])
    more = f"; and {len(statuses) - 3} more" if len(statuses) > 3 else ""  # noqa: PLR2004  three are shown
    raise InputError(f"nothing in the input could be read ({shown}{more}); {expected}")


def _paths(inputs: Inputs) -> list[Input]:
    return [inputs] if isinstance(inputs, str | os.PathLike | Source) else list(inputs)


def _given(host: HostNames | None) -> Given:
    """Pairs of pattern and name: a plain name holds for all files."""
    if host is None:
        return ()
    if isinstance(host, Mapping):
        pairs = [(pattern.strip(), name.strip()) for pattern, name in host.items()]
    else:
        texts = [host] if isinstance(host, str) else host
        pairs = [(left.strip(), right.strip()) for left, _, right in (_pair(text) for text in texts)]
    wrong = next((pattern for pattern, name in pairs if not name), None)
    if wrong is not None:
        raise OptionError(f"--host {wrong}=: expected NAME, or PATTERN=NAME with the name of a machine")
    return tuple(pairs)


def _pair(text: str) -> tuple[str, str, str]:
    return text.partition("=") if "=" in text else ("", "=", text)


def _host_text(given: Given) -> str | None:
    return ", ".join(f"{pattern}={name}" if pattern else name for pattern, name in given) or None


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _silent(path: str, size: int) -> None:
    """No progress is shown."""
