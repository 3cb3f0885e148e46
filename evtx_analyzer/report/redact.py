"""A report with aliases in place of names, so that it can be shown outside of the house.

    a@servername.com            -> user1@domain1.example
    CORP-SMTP1.ServerName.com   -> host1.domain1.example
    10.10.248.7:16547           -> ip1:16547
    CN=*.ServerName.com, O=...  -> CN=*.domain1.example, O=org1

One value has one alias everywhere, whatever its letter case: in fields, in sentences, in replies, in paths. Names are
found in the fields that hold them and in every text by their form (addresses, IPs), then replaced in all texts at
once. Folders and files keep only names that the log's own product gives them. With ``everything``, thumbprints, serial
numbers and key ids get aliases too. What no field names and no form shows (a person in a free text) cannot be found.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from evtx_analyzer.commands import literal
from evtx_analyzer.model.alike import Alike, encode
from evtx_analyzer.model.evidence import Folded, Link, Rejection
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.report.document import Report, without_folded

# Values from a fixed vocabulary, ids and digests: nothing of the customer is in them, and outputs rely on them.
_VOCABULARY = frozenset(
    {
        *("schema_version", "tool", "id", "cause", "grade", "grades", "kind", "kinds", "status", "sha256", "size"),
        *("policy", "result", "result_name", "chain_ref", "task_id", "chain_result", "chain_status", "signals", "rule"),
        *("basis", "host_basis", "anchor", "rejection", "operation", "stage", "attribution", "tls", "session"),
        *("errors", "infos", "time", "start", "end", "first", "last", "handshake_time", "chain_time"),
        *("not_before", "not_after", "window", "since", "until", "redact", "references", "process"),
        *("time_basis", "start_basis", "end_basis", "first_basis", "last_basis", "other_time", "tz"),
        *("code", "meaning", "remote_clock", "trait"),
    }
)
_HOSTS = ("host", "hosts", "server", "helo", "remote_name", "remote_host", "server_name", "certificate_name")
_NAMES = ("subject", "issuer", "authorities", "missing_issuer")
# What the remote side said, in which hosts have the form of a host.
_SAID = ("reply", "banner", "ehlo")
_PATHS = ("source", "member", "path", "folder", "duplicate_of", "markers")
# Files that CAPI2 names: a list of revoked certificates is called after its authority.
_FILES = ("object", "target")
_IDENTITIES = ("thumbprint", "serial", "subject_key_id", "authority_key_id", "missing_key_id")
# What the value of a common trait is, by the field that holds the same elsewhere.
_TRAIT_KEYS = {
    "sender-domain": "alternate_names",
    "host": "host",
    "connector": "connector",
    "certificate": "thumbprint",
}
# Exchange Online's word on a certificate, which it names: ``... Relay Access Denied app01 is untrustedroot.``
_JUDGED = re.compile(r"(?<!\S)(\S{1,255}) is untrustedroot", re.IGNORECASE)
# From the beginning of a word only, so that a long one is read once.
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9!#$%&'*+/=?^_`{|}~.-])[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*"
)
_IP4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)")
_IP6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?:%\w+)?(?![\w:])")
_DNS = re.compile(r"(?<![\w@.-])(?:[\w-]+\.)+[A-Za-z][\w-]+(?![\w-])")
_RDN = re.compile(
    r"(?:^|[,;+]\s*)([A-Za-z][A-Za-z0-9.]*|[\d.]+)=(\"(?:[^\"]|\"\")*\"|[^,;+]*(?:,(?!\s*[A-Za-z\d.]+=)[^,;+]*)*)"
)
# An address in a text: scheme, host, and what follows. What stands behind the host names authorities and servers too
# (``/CertEnroll/pki01_Contoso%20CA.crt``, ``ldap:///CN=Contoso%20CA,DC=corp``).
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,9})://([^\s/\"'<>()\[\]{}|,;:?#]*)(:\d+)?([^\s\"'<>()\[\]{}|;]*)")
# A user as Windows names one, but for the names that every Windows has.
_ACCOUNT = re.compile(
    r"(?:NT AUTHORITY|NT SERVICE|BUILTIN)\\.*|S-1-5-(?:18|19|20|32-\d+)|SYSTEM|LOCAL SERVICE|NETWORK SERVICE",
    re.IGNORECASE,
)
_RDN_ALIASES = {"CN": "name", "O": "org", "OU": "unit", "L": "place", "S": "state", "ST": "state", "DC": "domain"}
# Domains that name a service and no customer; what stands before them is replaced.
_SERVICES = (
    *(
        "mail.protection.outlook.com",
        "protection.outlook.com",
        "mail.onmicrosoft.com",
        "onmicrosoft.com",
        "mx.microsoft",
        "outlook.com",
    ),
    *("outbound.protection.outlook.com", "prod.outlook.com", "microsoft.com", "office365.com", "office.com"),
)
# Hosts of Microsoft that are the same for everybody, with all that stands before them.
_PUBLIC = (
    *("microsoft.com", "windowsupdate.com", "windows.com", "aka.ms", "office.com", "office365.com"),
    *("office.net", "outlook.office365.com", "microsoftonline.com", "msocsp.com", "msedge.net"),
)
_PRODUCT_PATH = re.compile(
    r"(?:SmtpSend|SmtpReceive|ProtocolLog|TransportRoles|Logs|Hub|FrontEnd|Edge|Mailbox|SMTPSVC\d+|MessageTracking"
    r"|(?:SEND|RECV|MSGTRK[A-Z]*)[\d-]+\.LOG|(?:u_)?ex\d+\.log|capi2\.(?:evtx|xml)"
    r"|CONTEXT_OID_\w+|[0-9A-F]{40}(?:\.\w{3})?"
    r"|Microsoft-Windows-CAPI2(?:%4|_|-|/)Operational\.evtx|\.{1,2}|-)",
    re.IGNORECASE,
)
# Names that the product gives, or that are words of our own sentences.
_PRODUCT_CONNECTORS = ("Outbound to Office 365", "SMTPSVC", "Partner", "Internet", "Default", "EdgeSync")
_WORDS = frozenset(
    {
        *("mail", "case", "cases", "log", "logs", "send", "smtp", "report", "reports", "server", "exchange", "export"),
        *("exports", "file", "files", "data", "capi2", "event", "events", "certificate", "certificates", "connector"),
        *("time", "host", "error", "new", "old", "test", "service", "root", "windows", "online", "input", "evidence"),
    }
)
_SHORTEST = 3  # a shorter name inside of a sentence is more likely a word


def redacted(report: Report, *, everything: bool = False) -> tuple[Report, dict[str, str]]:
    """The report with aliases, and the originals by alias; ``everything`` adds thumbprints, serials and key ids."""
    marked = replace(report, options=replace(report.options, redact="all" if everything else "names"))
    data = msgspec.to_builtins(without_folded(marked))
    # Refusals that do not stand in the JSON report have names of their own.
    folded = [group for incident in report.incidents for group in incident.alike]
    beside = [msgspec.to_builtins((group.shared, group.files)) for group in folded]
    aliases = _Aliases()
    for key, text in chain(_texts(data), _texts(beside), _texts_of_rows(folded)):
        _learn(key, text, aliases, everything)
    for key, text in chain(_texts(data), _texts(beside)):
        if key in (*_PATHS, *_FILES):
            aliases.add_path(text)
    put = aliases.replacer()
    clean = msgspec.convert(_mapped(data, put), type=Report)
    incidents = [
        replace(item, folded=_without_names(known.folded, put))
        for item, known in zip(clean.incidents, report.incidents, strict=True)
    ]
    return replace(clean, incidents=tuple(incidents)), aliases.originals()


_OF_ROWS = ("local_endpoint", "mail_from", "rcpt_to", "message_id", "reply")
"""What of folded refusals differs and may hold a name."""


def _texts_of_rows(groups: Iterable[Alike]) -> Iterator[tuple[str, str]]:
    for group in groups:
        for item in group.differing():
            yield from ((name, getattr(item, name) or "") for name in _OF_ROWS)


def _without_names(folded: Folded | UnsetType, put: Callable[[str, str], str]) -> Folded | UnsetType:
    """Return folded refusals with aliases; their ids stay, which depend on names."""
    if folded is UNSET:
        return UNSET
    groups = []
    for group in folded.alike:
        shared, files = _mapped(msgspec.to_builtins((group.shared, group.files)), put)
        rows = [
            encode(
                replace(
                    item,
                    id=group.whole(item).id,
                    **{name: put(name, text) if (text := getattr(item, name)) else text for name in _OF_ROWS},
                )
            )
            for item in group.differing()
        ]
        groups.append(Alike(msgspec.convert(shared, type=Rejection), rows, msgspec.convert(files, type=list[Origin])))
    links = msgspec.convert(_mapped(msgspec.to_builtins(folded.links), put, "links"), type=tuple[Link, ...])
    return Folded(tuple(groups), links)


def mapping_text(originals: dict[str, str]) -> str:
    """The mapping file: JSON, alias to original value."""
    return json.dumps(originals, indent=2, ensure_ascii=False) + "\n"


class _Aliases:
    """Aliases by value (letter case folded), counted per sort of value in the order of appearance."""

    def __init__(self) -> None:
        self._alias: dict[str, str] = {}
        self._written: dict[str, str] = {}
        self._paths: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._whole_paths: set[str] = set()
        self._numbered = 0

    def get(self, sort: str, value: str, make: Callable[[int], str]) -> str:
        """The alias of a value; ``make`` gives a new one from the next number of its sort."""
        key = value.casefold()
        if key not in self._alias:
            self._counts[sort] = self._counts.get(sort, 0) + 1
            self._alias[key] = make(self._counts[sort])
            self._written[key] = value
        return self._alias[key]

    def add_email(self, text: str) -> None:
        user, _, domain = text.rpartition("@")
        where = self.domain(domain)
        self.get("user", text, lambda number: f"user{number}@{where}")
        if len(user) >= _SHORTEST:
            self.get("user", user, lambda number: f"user{number}")

    def add_host(self, text: str) -> None:
        """A machine by its DNS or NetBIOS name; a name and its first label share their number."""
        name = text.strip().strip("[]").rstrip(".")
        if not name or _is_ip(name) or _public(name):
            return
        label, _, domain = name.removeprefix("*.").partition(".")
        if not domain:
            self.get("host", label, lambda number: f"host{number}")
            return
        if name.startswith("*.") or name.casefold() in self._alias or _service(name) == name.casefold():
            self.domain(name.removeprefix("*."))
            return
        where = self.domain(domain)
        if label.casefold() in _COMMON_LABELS:
            self.get("host", name, lambda number: f"host{number}.{where}")
            return
        short = self.get("host", label, lambda number: f"host{number}")
        self.get("fqdn", name, lambda _: f"{short}.{where}")

    def domain(self, text: str) -> str:
        """Alias of a domain; service domains stay, tenants in front of them do not."""
        name = text.casefold().rstrip(".")
        service = _service(name)
        if service == name or _public(name):
            return name
        if service:
            tenant = name.removesuffix(f".{service}")
            put = self.get("tenant", tenant, lambda number: f"tenant{number}")
            return self.get("tenant-domain", name, lambda _: f"{put}.{service}")
        alias = self.get("domain", name, lambda number: f"domain{number}.example")
        labels = [part for part in name.split(".")[:-1] if len(part) > _SHORTEST and part not in _COMMON_LABELS]
        for label in labels:
            self.get("label", label, lambda _: alias.partition(".")[0])
        return alias

    def add_name(self, text: str) -> None:
        """A subject or issuer: a distinguished name, or the display name that CAPI2 shows."""
        parts = _RDN.findall(text)
        if not parts:
            self._add_value("CN", text)
        for kind, value in parts:
            self._add_value(kind.upper(), value)

    def _add_value(self, kind: str, value: str) -> None:
        value = value.strip().strip('"').strip()
        if not value or (kind == "C" and len(value) == 2) or value.casefold() in _COMMON_LABELS:  # noqa: PLR2004
            return  # a country, or a label that names nobody
        if _DNS.fullmatch(value.removeprefix("*.")) and " " not in value:
            if kind == "CN" and not value.startswith("*."):
                self.add_host(value)
            self.domain(value.removeprefix("*."))
            return
        if _EMAIL.fullmatch(value):
            self.add_email(value)
            return
        sort = _RDN_ALIASES.get(kind, "name")
        self.get(sort, value, lambda number: f"{sort}{number}")

    def add_ip(self, text: str) -> None:
        self.get("ip", text, lambda number: f"ip{number}")

    def add_account(self, text: str) -> None:
        """A user or a SID, but for those that every Windows has."""
        if text and not _ACCOUNT.fullmatch(text):
            self.get("account", text, lambda number: f"account{number}")
            name = text.rpartition("\\")[2]
            if name != text and len(name) >= _SHORTEST:
                self.get("account", name, lambda number: f"account{number}")

    def add_url(self, host: str, text: str) -> None:
        """An address: its host as any host, and all of it, for what stands behind the host names people too."""
        if not _public(host):
            self.add_host(host)
            where = self._alias.get(host.casefold(), host)
            scheme = text.partition(":")[0]
            ending = _suffix(text)
            self.get("url", text, lambda number: f"{scheme}://{where}/url{number}{ending}")

    def add_path(self, text: str) -> None:
        """A path: parts that the product names stay, a host is the host's alias, all others keep their suffix."""
        if _PATH_SIGN.search(text):
            self._whole_paths.add(text)
        for part in _PATH_SIGN.split(text):
            if not part or part in self._paths or _PRODUCT_PATH.fullmatch(part):
                continue
            known = self._alias.get(part.casefold())
            self._numbered += known is None
            self._paths[part] = known or f"path{self._numbered}{_suffix(part)}"

    def replacer(self) -> Callable[[str, str], str]:
        """Replaces all known values in a text of the given key, longest first, in one pass."""
        # A command holds a value as a literal of PowerShell, which may be written in another way than the value.
        known = {literal(value)[1:-1].casefold(): alias for value, alias in self._alias.items()} | self._alias
        known |= {path.casefold(): self._path(path) for path in (*self._whole_paths, *self._paths)}
        # A folder ``mail`` or a host ``server`` is replaced where it stands as such, and not as a word of a sentence.
        telling = [item for item in known if len(item) >= _SHORTEST and item not in _WORDS]
        words = [re.escape(item) for item in sorted(telling, key=_longest_first)]
        pattern = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(words)})(?![A-Za-z0-9])", re.IGNORECASE) if words else None

        def put(key: str, text: str) -> str:
            if key in (*_PATHS, *_FILES):
                text = self._path(text)
                if key in _PATHS:
                    return text
            if text.casefold() in self._alias:
                return self._alias[text.casefold()]
            return pattern.sub(lambda found: known[found[0].casefold()], text) if pattern else text

        return put

    def _path(self, text: str) -> str:
        return "".join(self._paths.get(part, part) for part in _PATH_SIGNS.split(text))

    def originals(self) -> dict[str, str]:
        """Original values by alias, for the mapping file; a value written in several ways is shown as first seen."""
        found = {self._paths[key]: key for key in self._paths}
        for key, alias in self._alias.items():
            found.setdefault(alias, self._written[key])
        return dict(sorted(found.items()))


_PATH_SIGN = re.compile(r"[/\\!]")
_PATH_SIGNS = re.compile(r"([/\\!])")


_LONGEST_SUFFIXES = 40  # characters of a name that may be suffixes (``.tar.gz``)


def _suffix(name: str) -> str:
    """The suffixes of a file name: of letters and digits, and none that is a domain's (``.local``, ``.example``)."""
    found = re.search(r"(?:\.(?:[A-Za-z]{1,4}|7z|bz2|[A-Za-z]{2,3}\d))+$", name[-_LONGEST_SUFFIXES:])
    return found[0].lower() if found and len(found[0]) < len(name) else ""


def _longest_first(text: str) -> tuple[int, str]:
    return -len(text), text


_COMMON_LABELS = frozenset({"mail", "smtp", "local", "internal", "corp", "com", "net", "org", "example"})


def _service(name: str) -> str:
    name = name.casefold()
    return next((item for item in _SERVICES if name == item or name.endswith(f".{item}")), "")


def _public(name: str) -> bool:
    """Whether a host is one of Microsoft's that everybody uses, so that its name tells nothing of a customer."""
    return any(name.casefold() == item or name.casefold().endswith(f".{item}") for item in _PUBLIC)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _texts(data: Any, key: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401  JSON
    """Every text that may hold a name, with the key that it stands under."""
    if isinstance(data, str):
        yield key, data
    elif isinstance(data, dict):
        for name, value in data.items():
            if not _fixed(name, key):
                yield from _texts(value, _kind_of(name, key, data))
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _texts(value, key)


def _kind_of(name: str, parent: str, data: dict[str, Any]) -> str:
    """The key under which a value is looked at; what a log says beside a refusal names machines as a reply does."""
    if parent in ("context", "other_errors", "replies") and name in ("title", "text"):
        return "reply"
    return _TRAIT_KEYS.get(data["trait"], name) if parent == "common" and name == "value" else name


def _fixed(key: str, parent: str) -> bool:
    """Whether a value comes from a fixed vocabulary; a link's ``host`` is a relation, a clock's ``source`` a sort."""
    return key in _VOCABULARY or (key, parent) in (("host", "links"), ("source", "clocks"))


def _mapped(data: Any, put: Callable[[str, str], str], key: str = "") -> Any:  # noqa: ANN401  JSON
    if isinstance(data, str):
        return put(key, data)
    if isinstance(data, dict):
        return {name: value if _fixed(name, key) else _mapped(value, put, name) for name, value in data.items()}
    return [_mapped(value, put, key) for value in data] if isinstance(data, list | tuple) else data


def _learn(key: str, text: str, aliases: _Aliases, everything: bool) -> None:
    """Note every name in a text, by the key that it stands under and by its form."""
    for address in _EMAIL.findall(text):
        aliases.add_email(address)
    for address in _addresses(text):
        aliases.add_ip(address)
    for found in _URL.finditer(text):
        aliases.add_url(found[2], found[0].rstrip(".,"))
    _learn_value(key, text, aliases, everything)


def _learn_value(key: str, text: str, aliases: _Aliases, everything: bool) -> None:
    """Note a value that is a name because of the key that it stands under."""
    if key in _HOSTS:
        aliases.add_host(text)
    elif key == "user":
        aliases.add_account(text)
    elif key in _NAMES:
        aliases.add_name(text)
    elif key == "alternate_names":
        aliases.domain(text.removeprefix("*."))
    elif key == "connector" and text and not text.startswith(_PRODUCT_CONNECTORS):
        aliases.get("connector", text, lambda number: f"connector{number}")
    elif key in _SAID:
        for name in (*_DNS.findall(text), *_JUDGED.findall(text)):
            aliases.add_host(name)
    elif key in _IDENTITIES and everything and text:
        sort = "KEYID" if key.endswith("key_id") else key.upper()
        aliases.get(sort, text, lambda number: f"{sort}-{number}")


def _addresses(text: str) -> Iterable[str]:
    return (item for form in (_IP4, _IP6) for item in form.findall(text) if _is_ip(item.partition("%")[0]))
