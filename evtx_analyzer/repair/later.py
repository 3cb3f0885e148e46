"""What later logs show besides an incident, found by what an incident asks for: there may be thousands of both."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TypeVar

from msgspec import Struct

from evtx_analyzer.correlate.case_facts import CaseFacts
from evtx_analyzer.model.alike import Alike
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Setting
from evtx_analyzer.model.evidence import Operation, Rejection
from evtx_analyzer.smtp.deliveries import AcceptedMail

T = TypeVar("T")
Table = Mapping[Hashable, Sequence[T]]


class Later(Struct, frozen=True, kw_only=True, dict=True):
    """What logs show besides an incident; ``objects`` are exports made after the fix, by cmdlet.

    Its tables are made once (``dict=True`` lets the struct keep them).
    """

    rejections: Sequence[Rejection] = ()
    alike: Sequence[Alike] = ()
    accepted: Sequence[AcceptedMail] = ()
    operations: Sequence[Operation] = ()
    objects: Mapping[str, Sequence[Setting]] = {}
    certificates: Mapping[str, Certificate] = {}

    @cached_property
    def refused_by(self) -> Table[Rejection]:
        """Refusals by sender."""
        return _table(self.rejections, lambda item: sender(item.host, item.connector))

    @cached_property
    def alike_by(self) -> Table[Alike]:
        """Folded refusals by sender."""
        return _table(self.alike, lambda item: sender(item.shared.host, item.shared.connector))

    @cached_property
    def accepted_by(self) -> Table[AcceptedMail]:
        """Accepted mail by sender."""
        return _table(self.accepted, lambda item: sender(item.state.host, item.state.connector))

    @cached_property
    def checks_of(self) -> Table[Operation]:
        """Certificate checks by certificate, policy and process."""
        return _table(self.operations, lambda item: (item.thumbprint, item.policy, item.process))


def sender(host: str, connector: str) -> tuple[str, str]:
    """Return what the names of one machine and connector have in common, however they are written."""
    return host.casefold().partition(".")[0], connector.casefold()


def later_evidence(facts: CaseFacts) -> Later:
    """Return what the logs of a case show that may be later than the refusals of this or another case."""
    return Later(
        rejections=facts.rejections,
        alike=facts.alike,
        accepted=facts.accepted_mail,
        operations=facts.operations,
        objects=facts.objects,
        certificates=facts.certificates,
    )


def _table(items: Iterable[T], key: Callable[[T], Hashable]) -> Table[T]:
    found: dict[Hashable, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found
