"""The whole program on one page: discover, read, normalize, match, correlate, diagnose, report.

SMTP logs are read once: sessions pass by, refused ones stay, the others are counted. CAPI2 exports are read three
times: first for the failures that the signals look for; then, when it is known which certificates matter (those that
failed and those that refused sessions sent), for everything that the log says of these; then for the rest of the tasks
in which it said so, for retrievals and revocation checks name other certificates or none. So memory is bounded by the
evidence.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from importlib import metadata

from evtx_analyzer import diagnose
from evtx_analyzer.correlate.background import background, operation_fields, rejection_fields
from evtx_analyzer.correlate.chains import operations
from evtx_analyzer.correlate.history import History
from evtx_analyzer.correlate.hosts import survey
from evtx_analyzer.correlate.incidents import incidents
from evtx_analyzer.correlate.links import links
from evtx_analyzer.correlate.rejections import refusals, rejections
from evtx_analyzer.correlate.sessions import Session, sessions
from evtx_analyzer.discover import discover, folders
from evtx_analyzer.errors import InputError
from evtx_analyzer.intake import Examined, Ledger, Progress, Wanted, examine, is_event_log, is_text_log
from evtx_analyzer.match import matches, recognized
from evtx_analyzer.model import Capi2Event, Event, Match, Rejection, SmtpEvent
from evtx_analyzer.report.document import SCHEMA_VERSION, Options, Report, Tool, sorted_losses
from evtx_analyzer.rules import Rules

_THUMBPRINT = re.compile(r"\b[0-9A-Fa-f]{40}\b")
_TASK = re.compile(r"TaskId=[\"']([^\"']+)")
Inputs = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def analyze(
    inputs: Inputs,
    *,
    rules: Rules | None = None,
    window: tuple[float, float] | None = None,
    host: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    progress: Progress | None = None,
) -> Report:
    """Analyze one case: a file, a folder, or several of these.

    ``window`` replaces the seconds before and after the handshake in which a CAPI2 event may lie; ``host`` names the
    machine of logs that name none; ``since`` and ``until`` (aware) limit the refusals. ``progress`` is called with a
    source's path and a number of bytes read. Raises InputError where nothing can be read, RuleSetError for wrong rules.
    """
    rules = rules or Rules.load()
    tell = progress or _silent
    examined = [examine(source, tell) for source in discover(_paths(inputs))]
    ledger, history, aside = Ledger(), History(), list[Event]()

    refused = [item for item in _sessions(examined, rules, ledger, aside, tell) if _counted(item, history)]
    anchors = sorted(item.handshake_time or item.last for item in refused)
    checks = list(_failures(examined, rules, ledger, anchors, tell))
    checks += _details(examined, rules, ledger, _certificates(checks, refused), tell)
    require_readable(examined, ledger)

    coverage = ledger.coverage()
    hosts = survey([*(item.host for item in coverage), *(getattr(match.event, "host", "") for match in checks)])
    found = [item for session in refused for item in rejections(session, hosts, host or "")]
    found = [item for item in found if _within(item, since, until)]
    checked = operations(checks, hosts, coverage)
    deliveries = history.deliveries(hosts)
    beside = background(aside, checked, deliveries)
    checked = [recognized(item, rules.signals, "chain-operation", operation_fields(item, beside)) for item in checked]
    views = {item.id: rejection_fields(item, beside) for item in found}
    found = [recognized(item, rules.signals, "smtp-session", views[item.id]) for item in found]
    by_id = {item.id: item for item in checked}
    grouped = incidents(found, links(found, checked, rules.links, window), by_id)

    losses = sorted_losses(ledger.losses(examined))
    case = diagnose.Case(
        operations=by_id,
        coverage=coverage,
        kinds=frozenset(item.kind for item in coverage),
        cmdlets=frozenset(item.cmdlet for item in beside.settings),
        views=views,
        certificates=beside.certificates,
    )
    findings = diagnose.diagnose(grouped, rules.causes, case)
    return Report(
        schema_version=SCHEMA_VERSION,
        tool=Tool(name="evtx-analyzer", version=metadata.version("evtx-analyzer")),
        options=Options(window=window, host=host, since=_text(since), until=_text(until)),
        verdict=diagnose.verdict(findings, grouped, case, len(losses)),
        findings=tuple(findings),
        incidents=tuple(diagnose.graded(grouped, rules.causes, case)),
        operations=tuple(checked),
        deliveries=deliveries,
        sources=tuple(ledger.status(item) for item in examined),
        coverage=tuple(coverage),
        losses=losses,
    )


def events(inputs: Inputs) -> Iterator[Event]:
    """The typed events of all inputs, lazily, before any rule; losses are not told here, use ``analyze`` for those."""
    ledger = Ledger()
    for source in discover(_paths(inputs)):
        item = examine(source, _silent)
        if item.syntax is not None:
            yield from ledger.events(item, _silent)


def _sessions(
    examined: Iterable[Examined], rules: Rules, ledger: Ledger, aside: list[Event], tell: Progress
) -> Iterator[Session]:
    """Sessions of all SMTP logs; those of one folder are read as one log, for sessions cross files.

    What is no row of an SMTP log (configuration, certificates) is put ``aside``.
    """
    by_path = {item.source.path: item for item in examined if is_text_log(item)}
    for group in folders(item.source for item in by_path.values()).values():
        found = (event for source in group for event in ledger.events(by_path[source.path], tell))
        yield from sessions(matches(_rows(found, aside), rules.signals))


def _rows(found: Iterable[Event], aside: list[Event]) -> Iterator[Event]:
    for event in found:
        if isinstance(event, SmtpEvent):
            yield event
        else:
            aside.append(event)


def _counted(session: Session, history: History) -> bool:
    """Count a session; whether it was refused with 5.7.64 and must be kept."""
    history.add(session)
    return bool(refusals(session))


def _failures(
    examined: Iterable[Examined], rules: Rules, ledger: Ledger, anchors: Sequence[datetime], tell: Progress
) -> Iterator[Match]:
    """First pass over CAPI2: events that links look for by name, and by time where they are near a refusal."""
    by_name = {rule.operation_signal for rule in rules.links if rule.basis == "subject"}
    by_time = {rule.operation_signal: rule for rule in rules.links if rule.basis == "time"}
    reach = max((max(rule.before, rule.after) for rule in by_time.values()), default=0.0)
    for item in filter(is_event_log, examined):
        for match in matches(ledger.events(item, tell), rules.signals):
            names = set(match.signals)
            if names & by_name or (names & set(by_time) and _near(_time(match), anchors, reach)):
                yield match


def _details(
    examined: Iterable[Examined], rules: Rules, ledger: Ledger, certificates: frozenset[str], tell: Progress
) -> list[Match]:
    """Second pass over CAPI2: everything that the log says of the certificates that matter."""
    if not certificates:
        return []
    named = list(_again(examined, rules, ledger, _naming(_THUMBPRINT, certificates), tell))
    tasks = frozenset(event.task_id for match in named if isinstance(event := match.event, Capi2Event)) - {""}
    return named + list(_again(examined, rules, ledger, _naming(_TASK, tasks), tell)) if tasks else named


def _again(
    examined: Iterable[Examined], rules: Rules, ledger: Ledger, wanted: Wanted, tell: Progress
) -> Iterator[Match]:
    """Events of a later pass over CAPI2: only of records that ``wanted`` accepts."""
    found = (event for item in filter(is_event_log, examined) for event in ledger.events(item, tell, wanted))
    return matches(found, rules.signals)


def _naming(pattern: re.Pattern[str], names: frozenset[str]) -> Wanted:
    """Whether a record's text holds one of the names that the pattern finds; one look-up however many there are."""
    return lambda record: any(name.upper() in names for name in pattern.findall(getattr(record, "xml", "")))


def _certificates(checks: Iterable[Match], refused: Iterable[Session]) -> frozenset[str]:
    """Thumbprints of the certificates that failed, and of those that refused sessions sent or received."""
    shown = (item for session in refused for item in (session.sent, session.received) if item)
    failed = (getattr(match.event, "thumbprint", "") for match in checks)
    return frozenset({*failed, *(item.thumbprint for item in shown)} - {""})


def _time(match: Match) -> datetime:
    assert isinstance(match.event, Capi2Event)
    return match.event.time


def _near(time: datetime, anchors: Sequence[datetime], reach: float) -> bool:
    """Whether a time lies within a few seconds of any refused handshake."""
    slack = timedelta(seconds=reach + 1)
    place = bisect_left(anchors, time - slack)
    return place < len(anchors) and anchors[place] <= time + slack


def _within(item: Rejection, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or item.time >= since) and (until is None or item.time <= until)


def require_readable(examined: Sequence[Examined], ledger: Ledger) -> None:
    """Raise InputError where no source could be read; after all of them were."""
    statuses = [ledger.status(item) for item in examined]
    if any(item.status in ("read", "partial") for item in statuses):
        return
    expected = "expected a CAPI2 Operational export (.evtx or XML), Send connector logs or IIS SMTP logs"
    if not statuses:
        raise InputError(f"the input holds no file; {expected}")
    shown = "; ".join(f"{item.path}: {item.reason}" for item in statuses[:3])
    more = f"; and {len(statuses) - 3} more" if len(statuses) > 3 else ""  # noqa: PLR2004  three are shown
    raise InputError(f"nothing in the input could be read ({shown}{more}); {expected}")


def _paths(inputs: Inputs) -> list[str | os.PathLike[str]]:
    return [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _silent(path: str, size: int) -> None:
    """No progress is shown."""
