"""Which machine a fact belongs to, and whether two facts may be paired.

Logs write one machine in different ways: CAPI2 its DNS name (``Computer``), IIS the NetBIOS name (at most 15 letters,
upper case), the Send connector log none at all. The label is the first DNS label in upper case; where one short
name stands in two domains, the whole name is kept.

In order of trust: what ``--host`` says, the row, the collector's manifest, a file called after a machine that other
rows name (``EX02_SEND.LOG``), the folder or archive that collectors name after the machine, the local address as
Receive logs and message tracking name its owner. A label that none of these gives is assumed only where the whole
input, or the nearest folder that names any machine, holds one machine, and is said to be assumed.
Where a folder or archive *is* a machine (``HOSTA/`` holds rows that HOSTA wrote), the folders beside it that hold logs
without a name are other machines, called like their folder. Machines that differ are never paired silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct, field

from evtx_analyzer.errors import OptionError
from evtx_analyzer.model.evidence import HostBasis, HostRelation

HostOverrides = tuple[tuple[str, str], ...]
"""Pairs of ``--host``: pattern of a path (empty for all) and name."""
HostNames = str | Sequence[str] | Mapping[str, str]
"""``--host`` as callers write it: one name for all files, texts ``PATTERN=NAME``, or names by pattern."""

# ExchangeLogCollector: <SERVER>-<Md>.zip (then -1.zip ...) and <yyyyMd>\\<SERVER>; a copied share: \\\\SRV\\c$.
_ARCHIVE = re.compile(r"(?P<host>[A-Za-z0-9][A-Za-z0-9-]{0,62}?)-(?P<day>\d{2,4})(?:-\d{1,2})?\.zip$", re.IGNORECASE)
_DATED = re.compile(r"20\d\d(?P<day>\d{2,4})$")
_SHARE = re.compile(r"[A-Za-z]\$$")
_MACHINE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}(?:\.[A-Za-z0-9-]{1,63}){0,99}$")
# Words that people name bundles, copies and moments with, and folders of one machine's own logs and exports, as
# Exchange, IIS and people call them.
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
# A folder that looks like a machine's name (EX01, CORP-SMTP1), and not like one of Windows' own (SMTPSVC1, V15).
_MACHINE = re.compile(
    r"(?!(?:SMTPSVC|W3SVC|V|LOGS?|BUNDLE|CASE|PART|DAY)-?\d+$)[A-Za-z][A-Za-z-]{1,62}\d{1,3}", re.IGNORECASE
)
_SEPARATOR = re.compile(r"[_ .-]")
_MOST_KNOWN = 4096
_LOOPBACK = ("127.", "::1", "0.0.0.0")  # noqa: S104  compared, not bound


class HostClue(Struct, frozen=True):
    """What is known of a fact's machine: the name that its row writes, its file, and its local address."""

    name: str = ""
    path: str = ""
    address: str = ""


class Hosts(Struct, frozen=True):
    """All machines of one case.

    ``labels`` by name as written (folded), ``only`` where there is just one, ``folders`` the labels that rows of files
    below a folder name, ``addresses`` the label of an address, ``given`` the pairs of ``--host``. ``twins`` are folders
    of machines that are not known.
    """

    labels: Mapping[str, str]
    only: str
    folders: Mapping[str, frozenset[str]]
    addresses: Mapping[str, str]
    given: HostOverrides = ()
    stated: Mapping[str, str] = {}
    twins: frozenset[str] = frozenset()
    _known: dict[HostClue, tuple[str, HostBasis]] = field(default_factory=dict)

    def label(self, name: str) -> str:
        """Return the label of a machine by its name as a log writes it; empty for no name."""
        return self.labels.get(name.casefold(), short(name))

    def resolve(self, clue: HostClue) -> tuple[str, HostBasis]:
        """Return the label and how it is known; a log of thousands of sessions is asked about once."""
        label = self._known.get(clue)
        if label is None:
            # Another name or address may stand in every row: what is remembered stays small.
            if len(self._known) > _MOST_KNOWN:
                self._known.clear()
            label = self._known[clue] = self._resolve(clue)
        return label

    def _resolve(self, clue: HostClue) -> tuple[str, HostBasis]:
        override = _override(clue.path, self.given)
        if override:
            return self.label(override), "option"
        if clue.name:
            return self.label(clue.name), "row"
        if stated := self.stated.get(clue.path, ""):
            return self.label(stated), "manifest"
        if called := self._of_file(clue.path):
            return called, "file"
        named, assumed = self._of_folder(clue.path)
        if named:
            return named, "folder"
        owner = self.addresses.get(address_of(clue.address), "")
        if owner:
            return owner, "address"
        label = assumed or self.only
        return (label, "assumed") if label else ("", "unknown")

    def _of_file(self, path: str) -> str:
        """Return the label of a known machine with whose name the file's begins or ends; empty for none."""
        parts = _parts(path)
        name = parts[-1].casefold() if parts else ""
        stem = name.rpartition(".")[0] or name
        ends = [match.start() for match in _SEPARATOR.finditer(stem)]
        words = [word for at in ends for word in (stem[:at], stem[at + 1 :])]
        found = {self.labels[word] for word in words if word in self.labels and word not in _NO_HOSTS}
        return next(iter(found)) if len(found) == 1 else ""

    def _of_folder(self, path: str) -> tuple[str, str]:
        """Return the label that the nearest folder above a file gives, and one to assume from what folders hold."""
        parts = _parts(path)
        for depth in range(len(parts) - 1, 0, -1):
            name = parts[depth - 1]
            known = self.labels.get(_stem(name).casefold(), "")
            if known:
                return known, ""
            folder = "/".join(parts[:depth])
            inside = self.folders.get(folder, frozenset())
            pattern = folder_host(parts[:depth])
            if pattern and (not inside or self.label(pattern) in inside):
                return self.label(pattern), ""
            if inside or folder in self.twins:
                return "", next(iter(inside)) if len(inside) == 1 else ""
        return "", ""


def identify_hosts(
    rows: Iterable[tuple[str, str]],
    paths: Iterable[str] = (),
    bridges: Mapping[str, frozenset[str]] | None = None,
    given: HostOverrides = (),
    unnamed_logs: Iterable[tuple[str, str]] = (),
    stated: Mapping[str, str] | None = None,
) -> Hosts:
    """Return the machines of a case by names in rows (path, name), all paths, owners of addresses, and ``--host``.

    ``unnamed_logs`` are (path, local address) of sessions in logs that name no machine: several addresses are taken for
    several machines, and a folder called like another machine is not taken for the one that is known. ``stated`` are
    the machines that manifests of the collector name, by path.
    """
    named = sorted({(path, name) for path, name in rows if name})
    unnamed = sorted(set(unnamed_logs))
    above = {folder_host(parts[:depth]) for parts in map(_parts, paths) for depth in range(1, len(parts))}
    siblings = _siblings(named, [path for path, _ in unnamed])
    twins = _twins([path for path, _ in named], [path for path, _ in unnamed])
    manifests = set((stated or {}).values())
    written = sorted(
        {name for _, name in named} | {name for _, name in given} | manifests | (above - {""}), key=str.casefold
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
    distinct = {labels[name.casefold()] for _, name in (*named, *given)} | {short(name) for name in above if name}
    distinct |= {labels[name.casefold()] for name in manifests}
    distinct |= {label for owner in owners.values() for label in owner} | {*siblings.values()}
    return Hosts(
        labels={**labels, **siblings, **{label.casefold(): label for label in distinct}},
        only=next(iter(distinct)) if len(distinct) == 1 and not twins and not _several(unnamed, distinct) else "",
        folders={path: frozenset(found) for path, found in folders.items()},
        addresses={address: next(iter(found)) for address, found in owners.items() if len(found) == 1},
        given=given,
        stated=stated or {},
        twins=twins,
    )


def _siblings(named: Iterable[tuple[str, str]], unnamed: Iterable[str]) -> dict[str, str]:
    """Return machines by folders that stand beside the folder of a known machine and hold unnamed logs.

    The label by the folder's name, folded; the name may hold the domain.
    """
    places = {
        (*parts[:depth],)
        for path, name in named
        for parts in (_parts(path),)
        for depth, part in enumerate(parts[:-1])
        if short(_stem(part)) == short(name)
    }
    labels: dict[str, str] = {}
    for parts in map(_parts, unnamed):
        # A log below the machine's own folder is the machine's.
        beside = [
            parts[len(place)] for place in places if len(parts) > len(place) + 1 and (*parts[: len(place)],) == place
        ]
        labels |= {name.casefold(): short(name) for name in map(_stem, beside) if _is_machine_name(name)}
    return labels


def _is_machine_name(name: str) -> bool:
    """Return whether a folder may be called after a machine: a legal name, and none of the words for kinds of logs."""
    plain = re.sub(r"(?:[-_ ]|(?<!\d))\d+$", "", name).casefold()
    # A date (2026-03-10) would be a legal name of a machine.
    legal = _MACHINE_NAME.fullmatch(name) is not None and any(letter.isalpha() for letter in name)
    return legal and {name.casefold(), plain}.isdisjoint(_NO_HOSTS)


def _several(unnamed_logs: Iterable[tuple[str, str]], known: set[str]) -> bool:
    """Return whether logs that name no machine come from several, as far as paths and addresses tell."""
    found = set(unnamed_logs)
    addresses = {address_of(endpoint) for _, endpoint in found} - {""}
    folders = {part for path, _ in found for part in _parts(path)[:-1]}
    called = {part.upper() for part in folders if _MACHINE.fullmatch(part) and _is_machine_name(part)}
    return len(addresses) > 1 or bool(called - known)


def _twins(named: Iterable[str], unnamed: Iterable[str]) -> frozenset[str]:
    """Return folders of logs without a name that are called like one beside them with a name, but for the last letter.

    ``HOSTA`` and ``HOSTB``, ``server-1.zip`` and ``server-2.zip`` are two machines, whatever they are called inside.
    """
    stems: dict[tuple[str, str], set[str]] = {}
    for parts in map(_parts, named):
        for depth, part in enumerate(parts[:-1]):
            stem = _stem(part).casefold()
            stems.setdefault(("/".join(parts[:depth]), stem[:-1]), set()).add(stem[-1:])
    found = set()
    for parts in map(_parts, unnamed):
        for depth, part in enumerate(parts[:-1]):
            stem = _stem(part).casefold()
            last = stems.get(("/".join(parts[:depth]), stem[:-1]), set())
            if last and stem[-1:] not in last and len(stem) > 1 and _is_machine_name(_stem(part)):
                found.add("/".join(parts[: depth + 1]))
    return frozenset(found)


def folder_host(parts: list[str]) -> str:
    """Return the machine that the last of these folders is named after by a collector; empty where it is not."""
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
    """Return the address of an endpoint (``10.10.248.7:16547``, ``[fe80::1]:25``); empty for loopback and for none."""
    if endpoint.startswith("["):
        address = endpoint[1:].partition("]")[0]
    else:
        address = endpoint.partition(":")[0] if endpoint.count(":") == 1 else endpoint
    return "" if address.startswith(_LOOPBACK) else address.casefold()


def relation(left: str, left_basis: HostBasis, right: str) -> HostRelation:
    """Return how the host of a rejection and the host of an operation stand to each other."""
    if not left or not right:
        return "unknown"
    if left != right:
        return "different"
    return "assumed" if left_basis == "assumed" else "same"


def host_overrides(names: HostNames | None) -> HostOverrides:
    """Return the pairs of pattern and name; a name without a pattern holds for all files. Raises OptionError."""
    if names is None:
        return ()
    if isinstance(names, Mapping):
        pairs = list(names.items())
    else:
        pairs = [_pair(text) for text in ([names] if isinstance(names, str) else names)]
    pairs = [(pattern.strip(), name.strip()) for pattern, name in pairs]
    wrong = next((pattern for pattern, name in pairs if not name), None)
    if wrong is not None:
        raise OptionError(f"--host {wrong}=: expected NAME, or PATTERN=NAME with the name of a machine")
    return tuple(pairs)


def _pair(text: str) -> tuple[str, str]:
    pattern, equals, name = text.partition("=")
    return (pattern, name) if equals else ("", text)


def host_text(overrides: HostOverrides) -> str | None:
    """Return ``--host`` as reports show it; None where it was not given."""
    return ", ".join(f"{pattern}={name}" if pattern else name for pattern, name in overrides) or None


def _override(path: str, overrides: HostOverrides) -> str:
    """Return the name that ``--host`` gives a path: by a pattern of it or of a part of it, else that for all."""
    folded, names = path.casefold(), [part.casefold() for part in _parts(path)]
    for pattern, name in overrides:
        wanted = pattern.casefold()
        if wanted and (fnmatchcase(folded, wanted) or any(fnmatchcase(part, wanted) for part in names)):
            return name
    return next((name for pattern, name in overrides if not pattern), "")


def _parts(path: str) -> list[str]:
    return [part for part in re.split(r"[/\\!]+", path) if part not in ("", ".")]


def _stem(name: str) -> str:
    return re.sub(r"\.(zip|7z|cab|tar|gz|tgz)$", "", name, flags=re.IGNORECASE)


def _is_day(digits: str) -> bool:
    """Return whether digits are a month and a day without leading zeros, as the collector writes them."""
    return any(
        month and day and not month.startswith("0") and not day.startswith("0") and int(month) <= 12 and int(day) <= 31  # noqa: PLR2004  months, days
        for month, day in ((digits[:cut], digits[cut:]) for cut in (1, 2))
    )


def _label(name: str, domains: Mapping[str, set[str]]) -> str:
    several = len(domains[name.partition(".")[0].casefold()]) > 1
    return name.upper() if several else short(name)
