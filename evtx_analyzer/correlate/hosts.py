"""Which machine a fact belongs to, and whether two facts may be paired.

Logs write one machine in different ways: CAPI2 its DNS name (``Computer``), IIS the NetBIOS name (at most 15 letters,
upper case), the Send connector log none at all. The label is the first DNS label in upper case; where one short
name stands in two domains, the whole name is kept. A label that no row names is assumed only where the whole input
holds one machine, and is said to be assumed. Machines that differ are never paired silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from evtx_analyzer.model import HostBasis, HostRelation


class Hosts(Struct, frozen=True):
    """All machines of one case: ``labels`` by name as written (folded), ``only`` where there is just one."""

    labels: Mapping[str, str]
    only: str

    def label(self, name: str) -> str:
        """Label of a machine by its name as a log writes it; empty for no name."""
        return self.labels.get(name.casefold(), short(name))

    def resolve(self, name: str, given: str = "") -> tuple[str, HostBasis]:
        """Label and how it is known: given as an option, written in the row, assumed, or unknown."""
        if given:
            return self.label(given), "option"
        if name:
            return self.label(name), "row"
        return (self.only, "assumed") if self.only else ("", "unknown")


def survey(names: Iterable[str]) -> Hosts:
    """Labels for all names that the input holds."""
    written = sorted({name for name in names if name}, key=str.casefold)
    domains: dict[str, set[str]] = {}
    for name in written:
        host, _, domain = name.partition(".")
        domains.setdefault(host.casefold(), set()).update({domain.casefold()} if domain else set())
    labels = {name.casefold(): _label(name, domains) for name in written}
    distinct = set(labels.values())
    return Hosts(labels, next(iter(distinct)) if len(distinct) == 1 else "")


def short(name: str) -> str:
    """First DNS label in upper case."""
    return name.partition(".")[0].upper()


def relation(left: str, left_basis: HostBasis, right: str) -> HostRelation:
    """How the host of a rejection and the host of an operation stand to each other."""
    if not left or not right:
        return "unknown"
    if left != right:
        return "different"
    return "assumed" if left_basis == "assumed" else "same"


def _label(name: str, domains: Mapping[str, set[str]]) -> str:
    several = len(domains[name.partition(".")[0].casefold()]) > 1
    return name.upper() if several else short(name)
