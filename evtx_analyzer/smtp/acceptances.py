"""Mail that Exchange Online took, by the state in which it was sent: what refused mail is compared with.

Recipients of the own tenant are accepted whatever the attribution, so only mail to others shows that relaying worked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec import Struct

from evtx_analyzer.exchange_online import is_initial_domain
from evtx_analyzer.model.origin import TimeBasis

Scope = Literal["outside", "own", "unknown"]
_BUCKET = timedelta(minutes=10)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Span(Struct, frozen=True):
    """How often something happened, first and last."""

    count: int
    first: datetime
    last: datetime

    def and_at(self, time: datetime) -> Span:
        """Return this and one time more."""
        return Span(self.count + 1, min(self.first, time), max(self.last, time))

    def joined(self, other: Span) -> Span:
        """Return both together."""
        return Span(self.count + other.count, min(self.first, other.first), max(self.last, other.last))


class Spread:
    """When something happened: a span for every ten minutes in which it did, so that memory grows with time only."""

    def __init__(self) -> None:
        self._spans: dict[int, Span] = {}

    def add(self, span: Span) -> None:
        """Count what lies within ten minutes (a longer span counts where it begins)."""
        number = (span.first - _EPOCH) // _BUCKET
        known = self._spans.get(number)
        self._spans[number] = span if known is None else known.joined(span)

    def add_at(self, time: datetime) -> None:
        """Count one time."""
        number = (time - _EPOCH) // _BUCKET
        known = self._spans.get(number)
        self._spans[number] = Span(1, time, time) if known is None else known.and_at(time)

    def add_all(self, times: Sequence[datetime]) -> None:
        """Count some times, at least one; those of one block of a log mostly lie within the same ten minutes."""
        first, last = min(times), max(times)
        if (first - _EPOCH) // _BUCKET == (last - _EPOCH) // _BUCKET:
            self.add(Span(len(times), first, last))
        else:
            for time in times:
                self.add_at(time)

    def join(self, other: Spread) -> None:
        """Add all of another one."""
        for span in other._spans.values():
            self.add(span)

    def edges(self) -> list[datetime]:
        """Return the times at which ``between`` may give something else."""
        return [time for span in self._spans.values() for time in (span.first, span.last)]

    def all(self) -> Span | None:
        """Return all of it as one span; None if nothing happened."""
        return joined(self._spans.values())

    def between(self, first: datetime | None, last: datetime | None) -> Span | None:
        """Return what happened from ``first`` to ``last``.

        Of a span across an edge only the end inside counts, as one.
        """
        parts = (_clipped(span, first, last) for span in self._spans.values())
        return joined(part for part in parts if part is not None)


class MailState(Struct, frozen=True):
    """What decides how accepted mail was attributed, as far as the log shows it."""

    host: str
    kind: str
    connector: str
    thumbprint: str
    tls: bool | None
    seen_address: str
    sender_domain: str | None
    scope: Scope
    time_basis: TimeBasis = "utc"


def span_of(times: Sequence[datetime]) -> Span | None:
    """Return the span of some times; None if there are none."""
    return Span(len(times), min(times), max(times)) if times else None


def joined(spans: Iterable[Span]) -> Span | None:
    """Return spans as one; None if there are none."""
    result: Span | None = None
    for span in spans:
        result = span if result is None else result.joined(span)
    return result


def scope_of(recipient_domains: Iterable[str], own_domains: Iterable[str]) -> Scope:
    """Return whether a message went to anybody outside of the own tenant; ``unknown`` where no recipient is known.

    ``own_domains`` are those of the tenant, of the sender and of the certificate: a recipient there may be the tenant's
    own, and then its acceptance shows nothing.
    """
    domains = [domain for domain in recipient_domains if domain]
    if not domains:
        return "unknown"
    own = tuple(_plain(own_domains))
    return "own" if all(is_initial_domain(domain) or _is_own(domain, own) for domain in domains) else "outside"


def _is_own(domain: str, own: tuple[str, ...]) -> bool:
    """Return whether a domain is one of these, or they are below it.

    The domain of ``mail.contoso.com`` is contoso.com.
    """
    return any(domain == name or name.endswith("." + domain) for name in own)


def _plain(domains: Iterable[str]) -> Iterator[str]:
    return (domain.casefold().removeprefix("*.") for domain in domains if domain)


def _clipped(span: Span, first: datetime | None, last: datetime | None) -> Span | None:
    after = first is None or span.first >= first
    before = last is None or span.last <= last
    if after and before:
        return span
    edges = [
        time for time in (span.first, span.last) if (first is None or time >= first) and (last is None or time <= last)
    ]
    return Span(1, edges[0], edges[0]) if edges else None
