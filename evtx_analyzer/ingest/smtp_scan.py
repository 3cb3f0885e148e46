"""SMTP logs are read once: refused sessions are kept, all others are counted.

Files of one folder are read as one log, because sessions cross files. Only connectivity logs are read twice, the second
time when it is known which sessions were refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from evtx_analyzer.discover import folders
from evtx_analyzer.ingest.events import Reading, Selection, events
from evtx_analyzer.ingest.examine import is_text_log
from evtx_analyzer.model.events import ContextEvent, Match, SmtpEvent
from evtx_analyzer.model.records import LogRow
from evtx_analyzer.normalize import iis_smtp, normalize, send_log
from evtx_analyzer.normalize.supporting import CONNECTIVITY
from evtx_analyzer.read import Record
from evtx_analyzer.sigma.match import Signal, matches
from evtx_analyzer.smtp.blocks import Layouts
from evtx_analyzer.smtp.outcomes import Layout, layout_of
from evtx_analyzer.smtp.refused import RefusalReader
from evtx_analyzer.smtp.sessions import OpenSessions, Session, build_session, sessions

# Of the kinds that are counted in bulk: the field of the direction, its value for a reply, and the field of the reply.
_REPLY_FIELDS = {
    send_log.KIND: ("event", "<", "data"),
    iis_smtp.KIND: ("cs-username", "outboundconnectionresponse", "cs-uri-query"),
}
_PROTOCOLS = ("exchange-log", "w3c-log", "iis-log", "ncsa-log")


def smtp_sessions(reading: Reading) -> Iterator[Session]:
    """Yield the sessions of all SMTP logs; the files of one folder are read as one log.

    Sessions that went well are counted in bulk, unless a signal looks for something in them.
    """
    by_path = {account.examined.source.path: account for account in reading.accounts if is_text_log(account.examined)}
    signals = reading.rules.signals
    in_bulk = reading.prefilter and all(
        _looks_for_failure(signal) for signal in signals if signal.kind in _REPLY_FIELDS
    )
    # Exports come first: which domains are the tenant's own decides what an accepted message shows.
    sources = [account.examined for account in by_path.values()]
    exports = [source.source for source in sources if source.syntax not in _PROTOCOLS]
    protocols = [source.source for source in sources if source.syntax in _PROTOCOLS]
    for group in (*folders(exports).values(), *folders(protocols).values()):
        running: OpenSessions = {}
        refusals = RefusalReader(reading.tallies.refused, partial(_session, reading))
        layouts = Layouts(partial(_layout, reading), partial(_names, running), refusals) if in_bulk else None
        logs = (by_path[source.path] for source in group)
        select = Selection(layouts=layouts)
        rows = (event for account in logs for event in events(account, reading.options, select))
        yield from sessions(reading.tallies.protocol(matches(rows, signals)), running)


def _names(running: OpenSessions) -> list[str]:
    """Return the names of sessions that have begun."""
    return [name for *_, name in running]


def _looks_for_failure(signal: Signal) -> bool:
    """Return whether a signal of Send or IIS logs matches failing replies only."""
    direction, response, reply = _REPLY_FIELDS[signal.kind]
    prefixes = signal.required_prefixes
    return prefixes.get(direction) == response and prefixes.get(reply, "")[:1] in ("4", "5")


def _layout(reading: Reading, rows: Sequence[LogRow]) -> Layout | None:
    """Return in which rows of such a session its outcome stands; None if anything in this one failed."""
    row_matches = _matches(reading, rows)
    layout = layout_of(row_matches) if row_matches is not None else None
    if layout is not None and layout.sent is not None:
        reading.tallies.history.add_certificate(layout.sent)
    return layout


def _session(reading: Reading, rows: Sequence[LogRow]) -> Session | None:
    """Return the session of all these rows; None where one of them cannot be typed."""
    row_matches = _matches(reading, rows)
    return build_session(row_matches) if row_matches is not None else None


def _matches(reading: Reading, rows: Sequence[LogRow]) -> list[Match] | None:
    """Return the typed rows of a session with their signals; None where one of them cannot be typed."""
    known = [event for row in rows if (event := normalize(row)) is not None]
    typed = [event for _, event in known if isinstance(event, SmtpEvent)]
    return list(matches(typed, reading.rules.signals)) if len(typed) == len(rows) else None


def connections(reading: Reading, sessions_refused: Iterable[str]) -> None:
    """Read connectivity logs again, for what they say about the sessions that were refused."""
    logs = [account for account in reading.accounts if CONNECTIVITY in account.spans]
    refused = frozenset(sessions_refused) - {""} if logs else frozenset[str]()

    def wanted(record: Record) -> bool:
        return getattr(record, "values", {}).get("session", "") in refused

    select = Selection(wanted=wanted)
    for account in logs if refused else ():
        for event in events(account, reading.options, select):
            if isinstance(event, ContextEvent):
                reading.tallies.contexts.add(event)
