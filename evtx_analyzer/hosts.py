"""Which machine a fact belongs to, and whether two facts may be paired.

Logs write one machine in different ways: CAPI2 its DNS name (``Computer``), IIS the NetBIOS name (at most 15 letters,
upper case), the Send connector log none at all. The label is the first DNS label in upper case; where one short
name stands in two domains, the whole name is kept.

A label comes from the first of these that gives one: ``--host``, the row, the collector's manifest, a file named after
a machine that other rows name (``EX02_SEND.LOG``), the folder or archive that a collector named after the machine, the
owner of the local address by Receive logs and message tracking. If none does, a machine is assumed, and reported as
assumed, only if it is the only one in the whole input or in the nearest folder that names any.
If a folder or archive *is* a machine (``HOSTA/`` holds rows that HOSTA wrote), its sibling folders with logs that name
no machine are taken for other machines, with the names of their folders. Different machines are never paired silently.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct, field

from evtx_analyzer.errors import OptionError
from evtx_analyzer.local_addresses import are_of_several, of_one_machine
from evtx_analyzer.model.evidence import HostBasis, HostRelation

HostOverrides = tuple[tuple[str, str], ...]
"""The values of ``--host`` as pairs: the pattern of a path (empty for all paths), and a name."""
HostNames = str | Sequence[str] | Mapping[str, str]
"""The values of ``--host`` as callers write them: a name for all files, texts ``PATTERN=NAME``, or names by pattern."""

# ExchangeLogCollector: <SERVER>-<Md>.zip (then -1.zip ...) and <yyyyMd>\\<SERVER>; a copied share: \\\\SRV\\c$.
_ARCHIVE = re.compile(r"(?P<host>[A-Za-z0-9][A-Za-z0-9-]{0,62}?)-(?P<day>\d{2,4})(?:-\d{1,2})?\.zip$", re.IGNORECASE)
_DATED = re.compile(r"20\d\d(?P<day>\d{2,4})$")
_SHARE = re.compile(r"[A-Za-z]\$$")
_MACHINE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}(?:\.[A-Za-z0-9-]{1,63}){0,99}$")
# No machines: words in the names of bundles, copies and points in time, and the folders in which Exchange, IIS and
# people keep the logs and exports of one machine.
_NO_HOSTS = frozenset(
    """
    archive bundle capi2 case collect collected customer data evidence exchange export files iis incident log
    logs mail msgtrk output receive send smtp smtplogs support ticket tracking transport upload
    after backup before copy new old server temp tmp today yesterday
    config configuration connectivity edge events eventlogs evtx exports frontend hub mailbox messagetracking
    o365 office365 online onprem powershell protocollog protocollogs queue receivelogs sendlogs smtpreceive
    smtpsend smtpsvc system tenant text transportroles winevt windows xml
    """.split()  # noqa: SIM905  a word a line would take seventy lines
)
_ROLES = frozenset({"edge", "exchange", "frontend", "hub", "mail", "mailbox", "server", "smtp", "transport"})
# A folder that looks like a machine's name (EX01, CORP-SMTP1) and not like one that Windows makes (SMTPSVC1, V15).
_MACHINE = re.compile(
    r"(?!(?:SMTPSVC|W3SVC|V|LOGS?|BUNDLE|CASE|PART|DAY)-?\d+$)[A-Za-z][A-Za-z-]{1,62}\d{1,3}", re.IGNORECASE
)
_SEPARATOR = re.compile(r"[_ .-]")
_MOST_KNOWN = 4096
_LOOPBACK = ("::1", "0.0.0.0")  # noqa: S104  compared, not bound


class HostClue(Struct, frozen=True):
    """What a row tells of its machine: the name that it writes, its file, and its local address."""

    name: str = ""
    path: str = ""
    address: str = ""


class Hosts(Struct, frozen=True):
    """All machines of one case.

    ``labels`` are by name as written, in lower case; ``only`` is the label if there is just one. ``folders`` holds for
    each folder the labels in rows of the files below it, ``addresses`` the label that owns an address, ``stated`` the
    machine that a collector's manifest names for a path. ``twins`` are folders of machines whose names are not known.
    """

    labels: Mapping[str, str]
    only: str
    folders: Mapping[str, frozenset[str]]
    addresses: Mapping[str, str]
    overrides: HostOverrides = ()
    stated: Mapping[str, str] = {}
    twins: frozenset[str] = frozenset()
    _known: dict[HostClue, tuple[str, HostBasis]] = field(default_factory=dict)

    def label(self, name: str) -> str:
        """Return the label of a machine by its name as a log writes it; empty for no name."""
        return self.labels.get(name.casefold(), short(name))

    def resolve(self, clue: HostClue) -> tuple[str, HostBasis]:
        """Return the label of a clue's machine, and how it is known."""
        # Remembered, because all sessions of a log have the same clue.
        resolved = self._known.get(clue)
        if resolved is None:
            # A damaged or hostile log may write another name in every row, so the memory is bounded.
            if len(self._known) > _MOST_KNOWN:
                self._known.clear()
            resolved = self._known[clue] = self._resolve(clue)
        return resolved

    def _resolve(self, clue: HostClue) -> tuple[str, HostBasis]:
        override = _override(clue.path, self.overrides)
        if override:
            return self.label(override), "option"
        if clue.name:
            return self.label(clue.name), "row"
        if stated := self.stated.get(clue.path, ""):
            return self.label(stated), "manifest"
        if by_file := self._of_file(clue.path):
            return by_file, "file"
        by_folder, assumed = self._of_folder(clue.path)
        if by_folder:
            return by_folder, "folder"
        owner = self.addresses.get(address_of(clue.address), "")
        if owner:
            return owner, "address"
        label = assumed or self.only
        return (label, "assumed") if label else ("", "unknown")

    def _of_file(self, path: str) -> str:
        """Return the label of the known machine whose name begins or ends the file's name; empty if it is not one."""
        parts = _parts(path)
        name = parts[-1].casefold() if parts else ""
        stem = name.rpartition(".")[0] or name
        separators = [match.start() for match in _SEPARATOR.finditer(stem)]
        words = [word for at in separators for word in (stem[:at], stem[at + 1 :])]
        labels = {self.labels[word] for word in words if word in self.labels and word not in _NO_HOSTS}
        return next(iter(labels)) if len(labels) == 1 else ""

    def _of_folder(self, path: str) -> tuple[str, str]:
        """Return the label that the nearest folder above a file gives; if none does, the label to assume second."""
        parts = _parts(path)
        for depth in range(len(parts) - 1, 0, -1):
            name = parts[depth - 1]
            known = self.labels.get(_stem(name).casefold(), "")
            if known:
                return known, ""
            folder = "/".join(parts[:depth])
            inside = self.folders.get(folder, frozenset())
            collected = folder_host(parts[:depth])
            if collected and (not inside or self.label(collected) in inside):
                return self.label(collected), ""
            if inside or folder in self.twins:
                return "", next(iter(inside)) if len(inside) == 1 else ""
        return "", ""


def identify_hosts(
    rows: Iterable[tuple[str, str]],
    paths: Iterable[str] = (),
    bridges: Mapping[str, frozenset[str]] | None = None,
    overrides: HostOverrides = (),
    unnamed_logs: Iterable[tuple[str, str]] = (),
    stated: Mapping[str, str] | None = None,
) -> Hosts:
    """Return the machines of a case.

    ``rows`` are the names in rows as (path, name), ``paths`` all paths of the input, ``bridges`` the names of an
    address's owners by address. ``unnamed_logs`` are (path, local address) of sessions in logs that name no machine:
    several addresses are taken for several machines, and a folder with the name of another machine is not taken for the
    one that is known. ``stated`` are the machines that the collector's manifests name, by path.
    """
    named = sorted({(path, name) for path, name in rows if name})
    unnamed = sorted(set(unnamed_logs))
    above = {folder_host(parts[:depth]) for parts in map(_parts, paths) for depth in range(1, len(parts))}
    siblings = _siblings(named, [path for path, _ in unnamed])
    twins = _twins([path for path, _ in named], [path for path, _ in unnamed])
    twins |= _beside_edge(named, [path for path, _ in unnamed])
    manifests = set((stated or {}).values())
    written = sorted(
        {name for _, name in named} | {name for _, name in overrides} | manifests | (above - {""}), key=str.casefold
    )
    domains: dict[str, set[str]] = {}
    for name in written:
        host, _, domain = name.partition(".")
        domains.setdefault(host.casefold(), set()).update({domain.casefold()} if domain else set())
    labels = {name.casefold(): _label(name, domains) for name in written}
    folders: dict[str, set[str]] = {}
    for path, name in named:
        parts = _parts(path)
        for depth in range(1, len(parts)):
            folders.setdefault("/".join(parts[:depth]), set()).add(labels[name.casefold()])
    owners = {
        address: {labels.get(name.casefold(), short(name)) for name in names}
        for address, names in (bridges or {}).items()
    }
    distinct = {labels[name.casefold()] for _, name in (*named, *overrides)} | {short(name) for name in above if name}
    distinct |= {labels[name.casefold()] for name in manifests}
    distinct |= {label for owner in owners.values() for label in owner} | {*siblings.values()}
    return Hosts(
        labels={**labels, **siblings, **{label.casefold(): label for label in distinct}},
        only=next(iter(distinct)) if len(distinct) == 1 and not twins and not _several(unnamed, distinct) else "",
        folders={path: frozenset(inside) for path, inside in folders.items()},
        # An address with several owners identifies none of them.
        addresses={address: next(iter(names)) for address, names in owners.items() if len(names) == 1},
        overrides=overrides,
        stated=stated or {},
        twins=twins,
    )


def _siblings(named: Iterable[tuple[str, str]], unnamed: Iterable[str]) -> dict[str, str]:
    """Return the machines after which folders with unnamed logs are named, next to the folder of a known machine.

    The labels are by the folder's name in lower case, which may hold the domain.
    """
    places = _own_folders(named)
    labels: dict[str, str] = {}
    for parts in map(_parts, unnamed):
        # A log below the machine's own folder is the machine's.
        siblings = [
            parts[len(place)] for place in places if len(parts) > len(place) + 1 and (*parts[: len(place)],) == place
        ]
        labels |= {name.casefold(): short(name) for name in map(_stem, siblings) if _is_machine_name(name)}
    return labels


def _own_folders(named: Iterable[tuple[str, str]]) -> set[tuple[str, ...]]:
    """Return the folders that hold a folder which has the name of the machine in its rows."""
    return {
        (*parts[:depth],)
        for path, name in named
        for parts in (_parts(path),)
        for depth, part in enumerate(parts[:-1])
        if short(_stem(part)) == short(name)
    }


def _beside_edge(named: Iterable[tuple[str, str]], unnamed: Iterable[str]) -> frozenset[str]:
    """Return the folders ``Edge`` of unnamed logs beside the folder of a known machine.

    Only an Edge Transport server has logs below ``TransportRoles/Logs/Edge``, and no other role is installed on it.
    """
    found = set()
    for parts in map(_parts, unnamed):
        for place in _own_folders(named):
            beside = (*parts[: len(place)],) == place and len(parts) > len(place) + 1
            if beside and parts[len(place)].casefold() == "edge":
                found.add("/".join(parts[: len(place) + 1]))
    return frozenset(found)


def _is_machine_name(name: str) -> bool:
    """Return whether a folder may be named after a machine: by a legal name that is no usual word for logs.

    Machines are named after what they do: ``EDGE01`` is one, where ``Edge`` is a folder of Exchange's.
    """
    plain = re.sub(r"(?:[-_ ]|(?<!\d))\d+$", "", name).casefold()
    # A date (2026-03-10) would be a legal name of a machine.
    legal = _MACHINE_NAME.fullmatch(name) is not None and any(letter.isalpha() for letter in name)
    numbered = plain in _ROLES and name[len(plain) :].isdecimal()
    return legal and name.casefold() not in _NO_HOSTS and (plain not in _NO_HOSTS or numbered)


def _several(unnamed_logs: Iterable[tuple[str, str]], known: set[str]) -> bool:
    """Return whether logs that name no machine come from several, as far as paths and addresses show."""
    logs = set(unnamed_logs)
    machines_of = of_one_machine((path, address_of(endpoint)) for path, endpoint in logs)
    folders = {part for path, _ in logs for part in _parts(path)[:-1]}
    machines = {part.upper() for part in folders if _MACHINE.fullmatch(part) and _is_machine_name(part)}
    return are_of_several(machines_of) or bool(machines - known)


def _twins(named: Iterable[str], unnamed: Iterable[str]) -> frozenset[str]:
    """Return the folders of unnamed logs whose names differ only by the last letter from a sibling with named rows.

    ``HOSTA`` and ``HOSTB``, ``server-1.zip`` and ``server-2.zip`` are two machines, whatever name stands in their rows.
    """
    stems: dict[tuple[str, str], set[str]] = {}
    for parts in map(_parts, named):
        for depth, part in enumerate(parts[:-1]):
            stem = _stem(part).casefold()
            stems.setdefault(("/".join(parts[:depth]), stem[:-1]), set()).add(stem[-1:])
    twins = set()
    for parts in map(_parts, unnamed):
        for depth, part in enumerate(parts[:-1]):
            stem = _stem(part).casefold()
            last_letters = stems.get(("/".join(parts[:depth]), stem[:-1]), set())
            if last_letters and stem[-1:] not in last_letters and len(stem) > 1 and _is_machine_name(_stem(part)):
                twins.add("/".join(parts[: depth + 1]))
    return frozenset(twins)


def folder_host(parts: list[str]) -> str:
    """Return the machine after which a collector named the last of these folders; empty if none did."""
    name, above = parts[-1], parts[-2] if len(parts) > 1 else ""
    archive = _ARCHIVE.fullmatch(name)
    if archive is not None:
        return archive["host"] if _is_day(archive["day"]) and archive["host"].casefold() not in _NO_HOSTS else ""
    dated = _DATED.fullmatch(above)
    if dated is not None and _is_day(dated["day"]) and _MACHINE_NAME.fullmatch(name):
        return name
    if _SHARE.fullmatch(name) and _MACHINE_NAME.fullmatch(above):
        return above
    return ""


def folder_of(path: str) -> str:
    """Return the folder or archive that holds a file, by the name that reports show (``case.zip!EX01/SEND1.LOG``)."""
    return path[: max(path.rfind("/"), path.rfind("!"), 0)]


def short(name: str) -> str:
    """Return the first DNS label in upper case."""
    return name.partition(".")[0].upper()


def address_of(endpoint: str) -> str:
    """Return the address of an endpoint (``10.10.248.7:16547``, ``[fe80::1]:25``); empty for loopback addresses."""
    if endpoint.startswith("["):
        address = endpoint[1:].partition("]")[0]
    else:
        address = endpoint.partition(":")[0] if endpoint.count(":") == 1 else endpoint
    return "" if address in _LOOPBACK or address.startswith("127.") else address.casefold()


def relation(left: str, left_basis: HostBasis, right: str) -> HostRelation:
    """Return the relation between the host of a rejection and the host of an operation."""
    if not left or not right:
        return "unknown"
    if left != right:
        return "different"
    return "assumed" if left_basis == "assumed" else "same"


def may_be_another(
    address: str, refused: Collection[str], basis: HostBasis, machines: Mapping[str, frozenset[str]]
) -> bool:
    """Return whether mail from a local address may be of another machine than mail refused from others.

    Logs of several servers are collected in one folder, and a Send connector is shared by servers. Rows that name their
    machine (``basis``) leave no doubt; an address that is not known, or is of another IP version, shows no difference.
    ``machines`` are the addresses that are known to be of one machine (``local_addresses.of_one_machine``).
    """
    if basis in ("row", "manifest", "address") or not address or "" in refused or address in refused:
        return False
    if not machines.get(address, frozenset()).isdisjoint(refused):
        return False
    return any((":" in address) == (":" in other) for other in refused)


def host_overrides(names: HostNames | None) -> HostOverrides:
    """Return ``--host`` as pairs of pattern and name; a name without a pattern is for all files.

    Raises OptionError if a pattern has no name.
    """
    if names is None:
        return ()
    if isinstance(names, Mapping):
        pairs = list(names.items())
    else:
        parts = [text.partition("=") for text in ([names] if isinstance(names, str) else names)]
        pairs = [(before, name) if equals else ("", before) for before, equals, name in parts]
    pairs = [(pattern.strip(), name.strip()) for pattern, name in pairs]
    unnamed = next((pattern for pattern, name in pairs if not name), None)
    if unnamed is not None:
        raise OptionError(f"--host {unnamed}=: expected NAME, or PATTERN=NAME with the name of a machine")
    return tuple(pairs)


def host_text(overrides: HostOverrides) -> str | None:
    """Return ``--host`` as reports show it; None without the option."""
    return ", ".join(f"{pattern}={name}" if pattern else name for pattern, name in overrides) or None


def _override(path: str, overrides: HostOverrides) -> str:
    """Return the name of the first ``--host`` whose pattern matches the path or one of its parts, else that for all."""
    # fnmatch would compare by the rules of this system, which need not be the one that wrote the logs.
    folded, parts = path.casefold(), [part.casefold() for part in _parts(path)]
    for pattern, name in overrides:
        wanted = pattern.casefold()
        if wanted and (fnmatchcase(folded, wanted) or any(fnmatchcase(part, wanted) for part in parts)):
            return name
    return next((name for pattern, name in overrides if not pattern), "")


def _parts(path: str) -> list[str]:
    return [part for part in re.split(r"[/\\!]+", path) if part not in ("", ".")]


def _stem(name: str) -> str:
    return re.sub(r"\.(zip|7z|cab|tar|gz|tgz)$", "", name, flags=re.IGNORECASE)


def _is_day(digits: str) -> bool:
    """Return whether digits are a month and a day without leading zeros (``Md``), as ExchangeLogCollector has them."""
    return re.fullmatch(r"([1-9]|1[0-2])([1-9]|[12]\d|3[01])", digits) is not None


def _label(name: str, domains: Mapping[str, set[str]]) -> str:
    several = len(domains[name.partition(".")[0].casefold()]) > 1
    return name.upper() if several else short(name)
