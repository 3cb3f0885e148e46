"""Count mail that Exchange Online accepted, by the state in which it was sent: refused mail is compared with it.

Mail to the own tenant is accepted whatever the attribution, so only mail to outside recipients shows that relaying
worked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec import Struct

from evtx_analyzer.exchange_online import is_initial_domain
from evtx_analyzer.model.origin import TimeBasis

Scope = Literal["outside", "own", "unknown"]
_BUCKET = timedelta(minutes=10)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Span(Struct, frozen=True):
    """How often something happened, and when first and last (aware UTC)."""

    count: int
    first: datetime
    last: datetime

    def joined(self, other: Span) -> Span:
        """Return a span of both."""
        return Span(self.count + other.count, min(self.first, other.first), max(self.last, other.last))


class Spread:
    """When something happened: one span for every ten minutes, so that memory grows with the time covered only."""

    def __init__(self) -> None:
        self._spans: dict[int, Span] = {}

    def add(self, span: Span) -> None:
        """Count a span, all of it in the ten minutes in which it begins."""
        number = (span.first - _EPOCH) // _BUCKET
        known = self._spans.get(number)
        self._spans[number] = span if known is None else known.joined(span)

    def add_all(self, times: Sequence[datetime]) -> None:
        """Count times, at least one; faster where all are in the same ten minutes, as in most blocks of a log."""
        first, last = min(times), max(times)
        if (first - _EPOCH) // _BUCKET == (last - _EPOCH) // _BUCKET:
            self.add(Span(len(times), first, last))
        else:
            for time in times:
                self.add(Span(1, time, time))

    def join(self, other: Spread) -> None:
        """Count everything that another spread has."""
        for span in other._spans.values():
            self.add(span)

    def edges(self) -> list[datetime]:
        """Return all times at which the result of ``between`` can change."""
        return [time for span in self._spans.values() for time in (span.first, span.last)]

    def all(self) -> Span | None:
        """Return everything as one span; None if nothing happened."""
        return joined(self._spans.values())

    def between(self, first: datetime | None, last: datetime | None) -> Span | None:
        """Return what happened from ``first`` to ``last``, None for no limit; None if nothing happened.

        A span of ten minutes that a limit cuts counts as one, at its end that lies inside: only its ends are known.
        """
        return joined(_clipped(span, first, last) for span in self._spans.values())


class MailState(Struct, frozen=True):
    """What decides how accepted mail was attributed, as far as the log shows it.

    ``tls`` and ``sender_domain`` are None where the log does not show them; the domain is empty for the null sender.
    ``local_address`` is that of the machine in its own network, empty where the log does not show it: logs of several
    machines may lie in one folder, and then nothing else tells them apart.
    """

    host: str
    kind: str
    connector: str
    thumbprint: str
    tls: bool | None
    seen_address: str
    sender_domain: str | None
    scope: Scope
    time_basis: TimeBasis = "utc"
    local_address: str = ""


def span_of(times: Sequence[datetime]) -> Span | None:
    """Return the span of times; None if there are none."""
    return Span(len(times), min(times), max(times)) if times else None


def joined(spans: Iterable[Span | None]) -> Span | None:
    """Return one span of all; None if nothing happened in any."""
    result: Span | None = None
    for span in spans:
        if span is not None:
            result = span if result is None else result.joined(span)
    return result


def scope_of(recipient_domains: Iterable[str], own_domains: Iterable[str]) -> Scope:
    """Return whether a message went to anybody outside of the own tenant; ``unknown`` where no recipient is known.

    ``own_domains`` are the domains of the tenant, of the sender and of the certificate: a recipient in one of them may
    be the tenant's own, and then its acceptance shows nothing. So does one in ``*.onmicrosoft.com``.
    """
    domains = [domain for domain in recipient_domains if domain]
    if not domains:
        return "unknown"
    own = tuple([name.casefold().removeprefix("*.") for name in own_domains])  # as a certificate has it
    return "own" if all(is_initial_domain(domain) or _is_own(domain, own) for domain in domains) else "outside"


def _is_own(domain: str, own: tuple[str, ...]) -> bool:
    """Return whether a domain is an own name or a parent of one: contoso.com is, where mail.contoso.com is own."""
    return any(domain == name or name.endswith("." + domain) for name in own)


def _clipped(span: Span, first: datetime | None, last: datetime | None) -> Span | None:
    ends = (span.first, span.last)
    inside = [time for time in ends if (first is None or time >= first) and (last is None or time <= last)]
    if len(inside) == 2:  # noqa: PLR2004  both ends
        return span
    return Span(1, inside[0], inside[0]) if inside else None
