"""Local addresses that are known to be one machine's: it has several adapters, two IP versions, or a new lease.

A Send connector log names no machine. Exchange writes each log file on one server, so all addresses in a file that
still has the name that Exchange gave it are that server's. A file with another name may have been put together from
the logs of several servers: in it only one address of each IP version is taken for one machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

# SENDyyyymmddhh-nnnn.log, until Exchange 2010 without the hour (docs/formats.md); who collects puts a name before it.
_WRITTEN_BY_EXCHANGE = re.compile(r"(?:^|[/\\!_-])(?:SEND|RECV)\d{8}(?:\d\d)?-\d{1,4}\.LOG$", re.IGNORECASE)


def of_one_machine(logs: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """Return for each address those that are known to be of the same machine; ``logs`` are (path, local address)."""
    by_file: dict[str, set[str]] = {}
    for path, address in logs:
        if address:
            by_file.setdefault(path, set()).add(address)
    groups: dict[str, set[str]] = {}
    for path, together in sorted(by_file.items()):
        whole = _WRITTEN_BY_EXCHANGE.search(path) is not None or _one_of_each_version(together)
        for addresses in [together] if whole else [{address} for address in together]:
            group = set().union(addresses, *(groups.get(address, set()) for address in addresses))
            groups.update(dict.fromkeys(group, group))
    return {address: frozenset(group) for address, group in groups.items()}


def are_of_several(machines: Mapping[str, frozenset[str]]) -> bool:
    """Return whether addresses are of several machines: those that no file joins."""
    return len(set(machines.values())) > 1


def _one_of_each_version(addresses: set[str]) -> bool:
    versions = [":" in address for address in addresses]
    return len(set(versions)) == len(versions)
