"""Replace names in a report by aliases, so that it can be shown to others.

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

import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from evtx_analyzer.model.alike import Alike, encode
from evtx_analyzer.model.evidence import Folded, Link, Rejection
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.report.aliases import DNS, EMAIL, FILES, PATHS, Aliases, is_ip
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
# Texts of the remote side, in which hosts are recognized by their form.
_SAID = ("reply", "banner", "ehlo")
_IDENTITIES = ("thumbprint", "serial", "subject_key_id", "authority_key_id", "missing_key_id")
# The field that holds the value of a common trait elsewhere, by the name of the trait.
_TRAIT_KEYS = {
    "sender-domain": "alternate_names",
    "host": "host",
    "connector": "connector",
    "certificate": "thumbprint",
}
# The part of a reply in which Exchange Online names a certificate: ``... Relay Access Denied app01 is untrustedroot.``
_JUDGED = re.compile(r"(?<!\S)(\S{1,255}) is untrustedroot", re.IGNORECASE)
_IP4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)")
_IP6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?:%\w+)?(?![\w:])")
# Times in fields of the report (RFC 3339); no alias may change one.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z")
# A URL in a text: scheme, host, port and path. The path may name authorities and servers too
# (``/CertEnroll/pki01_Contoso%20CA.crt``, ``ldap:///CN=Contoso%20CA,DC=corp``).
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,9})://([^\s/\"'<>()\[\]{}|,;:?#]*)(:\d+)?([^\s\"'<>()\[\]{}|;]*)")
# Names of connectors that Exchange or its wizards give.
_PRODUCT_CONNECTORS = ("Outbound to Office 365", "SMTPSVC", "Partner", "Internet", "Default", "EdgeSync")


def redacted(report: Report, *, everything: bool = False) -> tuple[Report, dict[str, str]]:
    """Return the report with aliases, and the original values by alias.

    ``everything`` replaces thumbprints, serial numbers and key ids too.
    """
    marked = replace(report, options=replace(report.options, redact="all" if everything else "names"))
    data = msgspec.to_builtins(without_folded(marked))
    # Folded refusals are not in ``data``, and have names of their own.
    groups = [group for incident in report.incidents for group in incident.alike]
    folded = [msgspec.to_builtins((group.shared, group.files)) for group in groups]
    aliases = Aliases()
    for key, text in chain(_texts(data), _texts(folded), _texts_of_rows(groups)):
        _learn(key, text, aliases, everything)
    # Paths come last, because a part of a path that is a host gets the alias of the host.
    for key, text in chain(_texts(data), _texts(folded)):
        if key in (*PATHS, *FILES):
            aliases.add_path(text)
    replaced = aliases.replacer()
    clean = msgspec.convert(_mapped(data, replaced), type=Report)
    incidents = [
        replace(incident, folded=_without_names(original.folded, replaced))
        for incident, original in zip(clean.incidents, report.incidents, strict=True)
    ]
    return replace(clean, incidents=tuple(incidents)), aliases.originals()


_OF_ROWS = ("local_endpoint", "mail_from", "rcpt_to", "message_id", "reply")
"""The fields that differ between folded refusals and may hold a name."""


def _texts_of_rows(groups: Iterable[Alike]) -> Iterator[tuple[str, str]]:
    for group in groups:
        for differing in group.differing():
            yield from ((name, getattr(differing, name) or "") for name in _OF_ROWS)


def _without_names(folded: Folded | UnsetType, put: Callable[[str, str], str]) -> Folded | UnsetType:
    """Return folded refusals with aliases. Their ids stay, although they are computed from names."""
    if folded is UNSET:
        return UNSET
    groups = []
    for group in folded.alike:
        shared, files = _mapped(msgspec.to_builtins((group.shared, group.files)), put)
        rows = [
            encode(
                replace(
                    differing,
                    id=group.whole(differing).id,
                    **{name: put(name, text) if (text := getattr(differing, name)) else text for name in _OF_ROWS},
                )
            )
            for differing in group.differing()
        ]
        groups.append(Alike(msgspec.convert(shared, type=Rejection), rows, msgspec.convert(files, type=list[Origin])))
    links = msgspec.convert(_mapped(msgspec.to_builtins(folded.links), put, "links"), type=tuple[Link, ...])
    return Folded(tuple(groups), links)


def mapping_text(originals: dict[str, str]) -> str:
    """Return the mapping file: JSON, alias to original value."""
    return json.dumps(originals, indent=2, ensure_ascii=False) + "\n"


def _texts(data: Any, key: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401  JSON
    """Yield every text that may hold a name, as (key, text)."""
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
    """Return the key by which a value is searched for names."""
    # Texts of the log around a refusal name machines in the same way as replies.
    if parent in ("context", "other_errors", "replies") and name in ("title", "text"):
        return "reply"
    return _TRAIT_KEYS.get(data["trait"], name) if parent == "common" and name == "value" else name


def _fixed(key: str, parent: str) -> bool:
    """Return whether the values of a key come from a fixed vocabulary, so that they hold no name."""
    # ``host`` of a link is a relation (same, assumed ...), ``source`` of a clock a kind of comparison.
    return key in _VOCABULARY or (key, parent) in (("host", "links"), ("source", "clocks"))


def _mapped(data: Any, put: Callable[[str, str], str], key: str = "") -> Any:  # noqa: ANN401  JSON
    if isinstance(data, str):
        return data if _TIME.fullmatch(data) else put(key, data)
    if isinstance(data, dict):
        return {name: value if _fixed(name, key) else _mapped(value, put, name) for name, value in data.items()}
    return [_mapped(value, put, key) for value in data] if isinstance(data, list | tuple) else data


def _learn(key: str, text: str, aliases: Aliases, everything: bool) -> None:
    """Add every name in a text to the aliases, by the key of the text and by the form of the name."""
    for address in EMAIL.findall(text):
        aliases.add_email(address)
    for address in _addresses(text):
        aliases.add_ip(address)
    for match in _URL.finditer(text):
        aliases.add_url(match[2], match[0].rstrip(".,"))
    _learn_value(key, text, aliases, everything)


def _learn_value(key: str, text: str, aliases: Aliases, everything: bool) -> None:
    """Add a value that is a name because of its key."""
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
        for name in (*DNS.findall(text), *_JUDGED.findall(text)):
            aliases.add_host(name)
    elif key in _IDENTITIES and everything and text:
        sort = "KEYID" if key.endswith("key_id") else key.upper()
        aliases.get(sort, text, lambda number: f"{sort}-{number}")


def _addresses(text: str) -> Iterable[str]:
    # ``fe80::1%4`` has the zone of a link-local address behind %.
    return (address for form in (_IP4, _IP6) for address in form.findall(text) if is_ip(address.partition("%")[0]))
