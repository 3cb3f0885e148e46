"""What is kept of SMTP rows and messages once they were read.

These are counts, clocks, the owners of addresses, exported configuration, and the messages that were refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.exchange import ACCEPTED_DOMAIN
from evtx_analyzer.hosts import HostClue, Hosts, address_of
from evtx_analyzer.model.events import ContextEvent, Event, Match, MessageEvent, Setting, SmtpEvent, WholeSession
from evtx_analyzer.model.evidence import Context
from evtx_analyzer.model.origin import Loss, display_name, sort_key
from evtx_analyzer.model.records import CountedSessions
from evtx_analyzer.normalize import iis_smtp, send_log
from evtx_analyzer.normalize.kinds import RECEIVED_KINDS
from evtx_analyzer.normalize.supporting import CONNECTIVITY, QUEUE
from evtx_analyzer.read.exchange_log import RECEIVE_LOG, SEND_LOG
from evtx_analyzer.read.w3c_log import W3C_LOG
from evtx_analyzer.smtp.clock_skew import Clocks
from evtx_analyzer.smtp.deliveries import History
from evtx_analyzer.smtp.folding import Folding
from evtx_analyzer.smtp.other_errors import OtherErrors
from evtx_analyzer.smtp.replies import has_code
from evtx_analyzer.smtp.sessions import Session

# The logs that are counted in bulk (``smtp/blocks.py``), by the name that their readers give.
BULK_KINDS = {SEND_LOG: send_log.KIND, RECEIVE_LOG: send_log.RECEIVE_KIND, W3C_LOG: iis_smtp.KIND}
_MOST = 500


class Tallies:
    """The tallies of a case; they grow with machines, codes, certificates, settings and refusals, not with rows."""

    def __init__(self) -> None:
        self.history, self.errors, self.clocks, self.contexts = History(), OtherErrors(), Clocks(), Contexts()
        self.refused = Folding()
        self.messages: list[Match] = []
        self.exported: list[Event] = []
        self._owners: dict[str, set[str]] = {}
        self.unnamed_logs: set[tuple[str, str]] = set()

    def protocol(self, matches: Iterable[Match]) -> Iterator[Match]:
        """Yield the rows that make sessions, and keep what is needed of all others."""
        for match in matches:
            event = match.event
            if isinstance(event, WholeSession) or (isinstance(event, SmtpEvent) and event.kind not in RECEIVED_KINDS):
                yield match
            elif isinstance(event, SmtpEvent):
                self._received(event)
            elif isinstance(event, CountedSessions):
                self._counted(event)
            elif isinstance(event, MessageEvent):
                self._message(match, event)
            elif isinstance(event, ContextEvent):
                self._context(event)
            else:
                # Configuration and certificates: refusals are compared with them later.
                self.exported.append(event)
                if isinstance(event, Setting) and event.cmdlet == ACCEPTED_DOMAIN:
                    self.history.own_domains |= {event.values.get("DomainName", "").casefold()} - {""}

    def events(self, decoded: Iterable[Event]) -> Iterator[Event]:
        """Yield Windows events except those that are only context, which are kept here."""
        for event in decoded:
            if isinstance(event, ContextEvent):
                self._context(event)
            else:
                yield event

    def session(self, session: Session) -> None:
        """Count a session."""
        self.history.add(session)
        if not session.host:
            self.unnamed_logs.add((display_name(session.rows[0].origin), address_of(session.local)))
        self.errors.add(session)
        self.clocks.add(session)

    def _counted(self, sessions: CountedSessions) -> None:
        """Count sessions that went well and that the reader yields together."""
        clue = HostClue(sessions.host, display_name(sessions.origin), sessions.local)
        kind = BULK_KINDS[sessions.log]
        self.history.add_outcomes(sessions.outcomes, clue, kind)
        if not sessions.host:
            self.unnamed_logs.add((display_name(sessions.origin), address_of(sessions.local)))
        for time, text in sessions.banners:
            self.clocks.add_banner(kind, clue, time, text)
        self.history.add_refused(sessions.refused, clue, kind)
        self.clocks.add_brackets(kind, clue, sessions.skews)

    def message_times(self) -> list[datetime]:
        """Return the times of the refusals that message tracking and reports show."""
        return [time for match in self.messages if (time := getattr(match.event, "time", None)) is not None]

    def owners(self) -> dict[str, frozenset[str]]:
        """Return the names of machines by address, as Receive logs and message tracking show them."""
        return {address: frozenset(names) for address, names in sorted(self._owners.items())}

    def _received(self, row: SmtpEvent) -> None:
        self._own(row.local, row.host)
        if row.direction == ">" and row.text[:1] not in ("2", "3") and has_code(row.text):
            self.errors.add_received(row)

    def _message(self, match: Match, event: MessageEvent) -> None:
        self._own(event.address, event.host)
        if match.signals:
            # Messages are held until all logs are read: without their rows they take less memory.
            self.messages.append(Match(event=replace(event, fields={}), signals=match.signals))
        else:
            self.errors.add_message(match)

    def _context(self, event: ContextEvent) -> None:
        # Connectivity logs are read again when it is known which sessions were refused (``smtp_scan.connections``).
        if event.kind != CONNECTIVITY:
            self.contexts.add(event)

    def _own(self, endpoint: str, host: str) -> None:
        address = address_of(endpoint)
        if address and host:
            self._owners.setdefault(address, set()).add(host)


class Contexts:
    """Supporting events, which the report lists next to the refusals: they prove nothing alone.

    They are counted by kind, host, code and text; of more than 500 different ones, those to come without text.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, HostClue, str, str, str], Context] = {}

    def add(self, event: ContextEvent) -> None:
        """Count an event."""
        origin = event.origin
        key = (event.kind, HostClue(event.host, display_name(origin)), event.code, event.title, event.text)
        if key not in self._rows and len(self._rows) >= _MOST:
            key = (*key[:4], "")  # new texts are no longer kept apart
        row = self._rows.get(key)
        if row is None:
            kind, _, code, title, text = key
            row = Context(
                kind=kind, host="", code=code, title=title, text=text, count=0, first=None, last=None, origin=origin
            )
        known = event.time if clock.is_known(event.time_basis) else None
        times = [time for time in (row.first, row.last, known) if time is not None]
        first, last = min(times, default=None), max(times, default=None)
        self._rows[key] = replace(row, count=row.count + 1, first=first, last=last)

    def rows(self, hosts: Hosts) -> tuple[Context, ...]:
        """Return the events, sorted by kind, host and code."""
        rows = [replace(row, host=hosts.resolve(clue)[0]) for (_, clue, *_), row in self._rows.items()]
        return tuple(sorted(rows, key=lambda row: (row.kind, row.host, row.code, row.text, sort_key(row.origin))))

    def losses(self) -> list[Loss]:
        """Return a loss for queues whose last error is the refusal, for they show neither session nor time."""
        reason = (
            "a queue's last error holds 5.7.64, and no log in the input shows what was refused: give the Send "
            "connector log and the message tracking of that server"
        )
        return [
            Loss(origin=row.origin, reason=reason, extent=f"{row.count} queue{'s' if row.count > 1 else ''}")
            for row in self._rows.values()
            if row.kind == QUEUE and has_code(row.text)
        ]
