"""Make aliases of the values that name somebody, by the sort of the value, and replace the values in texts.

One value has one alias, whatever its letter case. Names of services, of hosts that everybody uses and of the products
that write the logs say nothing of a customer and stay.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from evtx_analyzer.commands import literal
from evtx_analyzer.exchange_online import below

# Keys of the report whose values are paths.
PATHS = ("source", "member", "path", "folder", "duplicate_of", "markers")
# Files that CAPI2 names: a revocation list is named after its authority.
FILES = ("object", "target")
# From the beginning of a word only: a search from each letter of a long word would take quadratic time.
EMAIL = re.compile(
    r"(?<![A-Za-z0-9!#$%&'*+/=?^_`{|}~.-])[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*"
)
DNS = re.compile(r"(?<![\w@.-])(?:[\w-]+\.)+[A-Za-z][\w-]+(?![\w-])")
_RDN = re.compile(
    r"(?:^|[,;+]\s*)([A-Za-z][A-Za-z0-9.]*|[\d.]+)=(\"(?:[^\"]|\"\")*\"|[^,;+]*(?:,(?!\s*[A-Za-z\d.]+=)[^,;+]*)*)"
)
# Users that every Windows has.
_ACCOUNT = re.compile(
    r"(?:NT AUTHORITY|NT SERVICE|BUILTIN)\\.*|S-1-5-(?:18|19|20|32-\d+)|SYSTEM|LOCAL SERVICE|NETWORK SERVICE",
    re.IGNORECASE,
)
_RDN_ALIASES = {"CN": "name", "O": "org", "OU": "unit", "L": "place", "S": "state", "ST": "state", "DC": "domain"}
# Domains of a service; the part in front of them may name a customer and is replaced.
_SERVICES = (
    *("mail.protection.outlook.com", "protection.outlook.com", "mail.onmicrosoft.com", "onmicrosoft.com"),
    *("mx.microsoft", "outlook.com"),
    *("outbound.protection.outlook.com", "prod.outlook.com", "microsoft.com", "office365.com", "office.com"),
)
# Domains of Microsoft whose hosts are the same for everybody, so that the part in front of them stays.
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
# Names of folders and hosts that are also words of our own sentences.
_WORDS = frozenset(
    {
        *("mail", "case", "cases", "log", "logs", "send", "smtp", "report", "reports", "server", "exchange", "export"),
        *("exports", "file", "files", "data", "capi2", "event", "events", "certificate", "certificates", "connector"),
        *("time", "host", "error", "new", "old", "test", "service", "root", "windows", "online", "input", "evidence"),
    }
)
# A year, a date, a time, a count, a port.
_FIGURES = re.compile(r"\d{1,6}|\d{4}-\d\d(?:-\d\d)?|\d\d?[.:-]\d\d(?:[.:-]\d{2,4})?")
_SHORTEST = 3  # a shorter name inside of a sentence is more likely a word


class Aliases:
    """Aliases by value (letter case folded), counted per sort of value in the order of appearance."""

    def __init__(self) -> None:
        self._alias: dict[str, str] = {}
        self._written: dict[str, str] = {}
        self._paths: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._whole_paths: set[str] = set()
        self._numbered = 0

    def get(self, sort: str, value: str, make: Callable[[int], str]) -> str:
        """Return the alias of a value; ``make`` turns the next number of its sort into a new alias."""
        key = value.casefold()
        if key not in self._alias:
            self._counts[sort] = self._counts.get(sort, 0) + 1
            self._alias[key] = make(self._counts[sort])
            self._written[key] = value
        return self._alias[key]

    def add_email(self, text: str) -> None:
        """Add a mail address, its user and its domain."""
        user, _, domain = text.rpartition("@")
        where = self.domain(domain)
        self.get("user", text, lambda number: f"user{number}@{where}")
        if len(user) >= _SHORTEST:
            self.get("user", user, lambda number: f"user{number}")

    def add_host(self, text: str) -> None:
        """Add a machine by its DNS or NetBIOS name; a DNS name and its first label get the same number."""
        name = text.strip().strip("[]").rstrip(".")
        if not name or is_ip(name) or _public(name):
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
        """Add a domain and return its alias; a service's domain stays, but a tenant in front of it does not."""
        name = text.casefold().rstrip(".")
        service = _service(name)
        if service == name or _public(name):
            return name
        if service:
            tenant = name.removesuffix(f".{service}")
            tenant_alias = self.get("tenant", tenant, lambda number: f"tenant{number}")
            return self.get("tenant-domain", name, lambda _: f"{tenant_alias}.{service}")
        alias = self.get("domain", name, lambda number: f"domain{number}.example")
        labels = [label for label in name.split(".")[:-1] if len(label) > _SHORTEST and label not in _COMMON_LABELS]
        for label in labels:
            self.get("label", label, lambda _: alias.partition(".")[0])
        return alias

    def add_name(self, text: str) -> None:
        """Add a subject or issuer: the parts of a distinguished name, or the display name that CAPI2 writes."""
        parts = _RDN.findall(text)
        if not parts:
            self._add_value("CN", text)
        for kind, value in parts:
            self._add_value(kind.upper(), value)

    def _add_value(self, kind: str, value: str) -> None:
        value = value.strip().strip('"').strip()
        if not value or (kind == "C" and len(value) == 2) or value.casefold() in _COMMON_LABELS:  # noqa: PLR2004
            return  # a country, or a label that names nobody
        if DNS.fullmatch(value.removeprefix("*.")) and " " not in value:
            if kind == "CN" and not value.startswith("*."):
                self.add_host(value)
            self.domain(value.removeprefix("*."))
            return
        if EMAIL.fullmatch(value):
            self.add_email(value)
            return
        sort = _RDN_ALIASES.get(kind, "name")
        self.get(sort, value, lambda number: f"{sort}{number}")

    def add_ip(self, text: str) -> None:
        """Add an IP address without its port."""
        self.get("ip", text, lambda number: f"ip{number}")

    def add_account(self, text: str) -> None:
        """Add a user or a SID, unless every Windows has it."""
        if text and not _ACCOUNT.fullmatch(text):
            self.get("account", text, lambda number: f"account{number}")
            name = text.rpartition("\\")[2]
            if name != text and len(name) >= _SHORTEST:
                self.get("account", name, lambda number: f"account{number}")

    def add_url(self, host: str, text: str) -> None:
        """Add the host of a URL, and the whole URL, because its path may name a customer too."""
        if not _public(host):
            self.add_host(host)
            where = self._alias.get(host.casefold(), host)
            scheme = text.partition(":")[0]
            suffix = _suffix(text)
            self.get("url", text, lambda number: f"{scheme}://{where}/url{number}{suffix}")

    def add_path(self, text: str) -> None:
        """Add a path: parts that a product names stay, a host gets its own alias, all others keep their suffix."""
        if _PATH_SIGN.search(text):
            self._whole_paths.add(text)
        for part in _PATH_SIGN.split(text):
            if not part or part in self._paths or _PRODUCT_PATH.fullmatch(part):
                continue
            known = self._alias.get(part.casefold())
            self._numbered += known is None
            self._paths[part] = known or f"path{self._numbered}{_suffix(part)}"

    def replacer(self) -> Callable[[str, str], str]:
        """Return a function of a key and a text that replaces all known values in the text, in one pass."""
        # A command holds a value as a literal of PowerShell, in which quotation marks are doubled.
        known = {literal(value)[1:-1].casefold(): alias for value, alias in self._alias.items()} | self._alias
        known |= {path.casefold(): self._path(path) for path in (*self._whole_paths, *self._paths)}
        # A folder ``mail`` or ``2016`` or a host ``server`` is replaced as a whole value only: in a sentence it is more
        # likely a word or a part of a time.
        distinct = [
            value
            for value in known
            if len(value) >= _SHORTEST and value not in _WORDS and not _FIGURES.fullmatch(value)
        ]
        # The longest first, because re takes the first alternative that matches.
        words = [re.escape(value) for value in sorted(distinct, key=lambda value: (-len(value), value))]
        pattern = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(words)})(?![A-Za-z0-9])", re.IGNORECASE) if words else None

        def replaced(key: str, text: str) -> str:
            if key in (*PATHS, *FILES):
                text = self._path(text)
                if key in PATHS:
                    return text
            if text.casefold() in self._alias:
                return self._alias[text.casefold()]
            return pattern.sub(lambda match: known[match[0].casefold()], text) if pattern else text

        return replaced

    def _path(self, text: str) -> str:
        return "".join(self._paths.get(part, part) for part in _PATH_SIGNS.split(text))

    def originals(self) -> dict[str, str]:
        """Return the original values by alias, for the mapping file; letter case is that of the first occurrence."""
        originals = {alias: part for part, alias in self._paths.items()}
        for key, alias in self._alias.items():
            originals.setdefault(alias, self._written[key])
        return dict(sorted(originals.items()))


_PATH_SIGN = re.compile(r"[/\\!]")
_PATH_SIGNS = re.compile(r"([/\\!])")
_LONGEST_SUFFIXES = 40  # characters of a name that may be suffixes (``.tar.gz``)


def _suffix(name: str) -> str:
    """Return the suffixes of a file name; longer ones are left out, because they may be a domain (``.local``)."""
    match = re.search(r"(?:\.(?:[A-Za-z]{1,4}|7z|bz2|[A-Za-z]{2,3}\d))+$", name[-_LONGEST_SUFFIXES:])
    return match[0].lower() if match and len(match[0]) < len(name) else ""


_COMMON_LABELS = frozenset({"mail", "smtp", "local", "internal", "corp", "com", "net", "org", "example"})


def _service(name: str) -> str:
    return next((service for service in _SERVICES if below(name, [service])), "")


def _public(name: str) -> bool:
    """Return whether a host is one of Microsoft's that everybody uses."""
    return below(name, _PUBLIC)


def is_ip(text: str) -> bool:
    """Return whether a text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
