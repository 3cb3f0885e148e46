"""Make stores of exported entries: of which machine, which store, from when, and whether everything is listed.

A certificate that an export does not list is absent only if the export is whole. The output of ``certutil`` and
PowerShell does not show that: a CertId or a ``Where-Object`` leaves no trace. Three things do: the command line in a
copy of a console, the manifest of the collection script, and certificates that every Windows has in its store, if they
are so different that no filter by name or date lets all of them through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import PurePosixPath

from msgspec import Struct

from evtx_analyzer.hosts import HostClue, Hosts
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import CertificateFile, Event
from evtx_analyzer.model.origin import display_name, sort_key
from evtx_analyzer.model.stores import Store, StoreEntry

MACHINE, USER = "LocalMachine", "CurrentUser"
# One certificate of each group must be listed: they are in every Windows, some have expired and some have not. CA: Root
# Agency; Microsoft Windows Hardware Compatibility and VeriSign (Get-ChildItem Cert:\LocalMachine\CA in Microsoft's book
# "PowerShell 101"). Root: Microsoft's roots of 1997 and 2001; those of 2010 and 2011 (MicrosoftDocs/SupportArticles
# "trusted-root-certificates-are-required").
_ALWAYS: dict[str, tuple[frozenset[str], ...]] = {
    "CA": (
        frozenset({"FEE449EE0E3965A5246F000E87FDE2A065FD89D4"}),
        frozenset({"109F1CAED645BB78B3EA2B94C0697C740733031C", "D559A586669B08F46A30A133F8A9ED3D038E2EA8"}),
    ),
    "Root": (
        frozenset({"A43489159A520F0D93D032CCAF37E7FE20A8B419", "CDD4EEAE6000AC7F40C3802C171E30148030C072"}),
        frozenset({"3B1EFD3A66EA28B16697394703A72CA340A05BD5", "8F43288AD272F3103B6FB1428485EA3014C0BCFE"}),
    ),
}
_FILE_NAMES = {"my": "My", "ca": "CA", "root": "Root", "authroot": "AuthRoot"}
_USER_WORDS = {"currentuser", "user"}
_NAMED_BY_FILE = "the export does not name its store: its file does"
_FILTERED = "a part of the store only: entries were picked, or are missing"


class StoreContents(Struct, frozen=True, kw_only=True):
    """One store and its entries, which have what the report has not: encoded certificates, and dates without a zone."""

    store: Store
    entries: tuple[StoreEntry, ...]


def assemble(exported: Iterable[Event], hosts: Hosts, collected: Mapping[str, datetime]) -> list[StoreContents]:
    """Return the stores of all exports in the order of their origins; entries of an unknown store are left out.

    ``collected`` are the times (aware UTC) of the exports that the collection script made, by path.
    """
    groups: dict[tuple[str, str, str, str], list[StoreEntry]] = {}
    for event in exported:
        if isinstance(event, StoreEntry):
            store, location = (event.store, event.location) if event.store else _by_file(event)
            key = (display_name(event.origin), event.listing, location, store)
            groups.setdefault(key, []).append(event)
    unfiltered = {key[:2] for key, entries in groups.items() if _shows_windows_own(key[3], entries)}
    contents = [
        _contents(key, entries, hosts, collected, unfiltered=key[:2] in unfiltered)
        for key, entries in groups.items()
        if key[3]
    ]
    return sorted(
        contents, key=lambda content: (sort_key(content.store.origin), content.store.location, content.store.name)
    )


def known_certificates(exported: Iterable[Event]) -> dict[str, tuple[Certificate, bytes]]:
    """Return certificates of files and stores by thumbprint, with their DER bytes, or empty where no file has them."""
    certificates: dict[str, tuple[Certificate, bytes]] = {}
    for event in exported:
        if isinstance(event, CertificateFile | StoreEntry) and event.certificate is not None:
            known = certificates.get(event.certificate.thumbprint)
            if known is None or (event.encoded and not known[1]):
                certificates[event.certificate.thumbprint] = event.certificate, event.encoded
    return certificates


def _contents(
    key: tuple[str, str, str, str],
    entries: list[StoreEntry],
    hosts: Hosts,
    collected: Mapping[str, datetime],
    *,
    unfiltered: bool,
) -> StoreContents:
    """Return one store; ``unfiltered`` is whether its listing shows the certificates that every Windows has."""
    path, _, location, name = key
    heading = next((entry for entry in entries if entry.certificate is None), None)
    listed = tuple(entry for entry in entries if entry.certificate is not None)
    named = next((entry.host for entry in entries if entry.host), "")
    host, basis = hosts.resolve(HostClue(named, path))
    exported = collected.get(path)
    whole = heading.whole if heading is not None else None
    # The collection script lists whole stores.
    if whole is None and (unfiltered or exported is not None):
        whole = True
    by_file = not (heading or listed[0]).store
    return StoreContents(
        store=Store(
            name=name,
            host=host,
            certificates=tuple(entry.certificate for entry in listed if entry.certificate is not None),
            origin=(heading or listed[0]).origin,
            location=location,
            host_basis=basis,
            exported=exported,
            whole=whole,
            keys=tuple(entry.key for entry in listed if entry.key is not None),
            notes=(*((_NAMED_BY_FILE,) if by_file else ()), *((_FILTERED,) if whole is False else ())),
        ),
        entries=listed,
    )


def _by_file(entry: StoreEntry) -> tuple[str, str]:
    """Return store and location from the name of a file (``LocalMachine-CA.sst``); empty where it has not one store."""
    words = re.findall(r"[a-z]+", PurePosixPath(display_name(entry.origin).rpartition("!")[2]).stem.casefold())
    stores = {_FILE_NAMES[word] for word in words if word in _FILE_NAMES}
    if len(stores) != 1:
        return "", ""
    return next(iter(stores)), USER if _USER_WORDS & set(words) else ""


def _shows_windows_own(store: str, entries: Iterable[StoreEntry]) -> bool:
    """Return whether a store lists the certificates of every Windows, which no filter lets through together."""
    listed = {entry.certificate.thumbprint for entry in entries if entry.certificate is not None}
    groups = _ALWAYS.get(store, ())
    return bool(groups) and all(group & listed for group in groups)
