"""Supporting events, counted: Schannel, MSExchangeTransport, queues, and the connections of refused sessions.

They prove nothing alone. The report lists them next to the refusals.
"""

from __future__ import annotations

from datetime import datetime

from evtx_analyzer import clock
from evtx_analyzer.hosts import HostClue, Hosts
from evtx_analyzer.model.events import ContextEvent
from evtx_analyzer.model.evidence import Context
from evtx_analyzer.model.origin import Loss, Origin, display_name, sort_key
from evtx_analyzer.normalize.supporting import QUEUE
from evtx_analyzer.smtp.replies import has_code

_MOST = 500


class Contexts:
    """Counts by kind, host, code and text; of more than 500 different ones, those to come are counted without text."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, HostClue, str, str, str], _Row] = {}

    def add(self, event: ContextEvent) -> None:
        """Count an event."""
        origin = event.origin
        path = display_name(origin)
        key = (event.kind, HostClue(event.host, path), event.code, event.title, event.text)
        if key not in self._rows and len(self._rows) >= _MOST:
            key = (*key[:4], "")  # new texts are no longer kept apart
        self._rows.setdefault(key, _Row(event.origin)).add(event)

    def rows(self, hosts: Hosts) -> tuple[Context, ...]:
        """Return the events, sorted by kind, host and code."""
        rows = [
            Context(
                kind=kind,
                host=hosts.resolve(clue)[0],
                code=code,
                title=title,
                text=text,
                count=row.count,
                first=row.first,
                last=row.last,
                origin=row.origin,
            )
            for (kind, clue, code, title, text), row in self._rows.items()
        ]
        return tuple(sorted(rows, key=lambda row: (row.kind, row.host, row.code, row.text, sort_key(row.origin))))

    def losses(self) -> list[Loss]:
        """Return a loss for queues whose last error is the refusal, for they name neither message nor time."""
        reason = "a queue's last error holds 5.7.64, and no log in the input shows what was refused"
        return [
            Loss(origin=row.origin, reason=reason, extent=f"{row.count} queue{'s' if row.count > 1 else ''}")
            for (kind, _, _, _, text), row in self._rows.items()
            if kind == QUEUE and has_code(text)
        ]


class _Row:
    """How often an event came, when first and last (where a time is known), and where the first one stands."""

    def __init__(self, origin: Origin) -> None:
        self.count, self.origin = 0, origin
        self.first: datetime | None = None
        self.last: datetime | None = None

    def add(self, event: ContextEvent) -> None:
        self.count += 1
        if event.time is not None and clock.is_known(event.time_basis):
            self.first = event.time if self.first is None or event.time < self.first else self.first
            self.last = event.time if self.last is None or event.time > self.last else self.last
