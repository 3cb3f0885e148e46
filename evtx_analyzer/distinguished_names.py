"""Names in certificates: distinguished names, DNS names, and what a connector's certificate name covers.

RFC 4514 is the usual way to write a distinguished name. Windows and Exchange write a blank after each comma, and ``S``
for its ``ST``.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from evtx_analyzer.model.certificate import Certificate


def certificate_names(certificate: Certificate) -> set[str]:
    """Return the DNS names of a certificate in lower case: the subject's common name and the alternate names."""
    return set(sorted_names(certificate.subject, certificate.alternate_names))


# The same few certificates stand in every session.
@lru_cache(maxsize=1024)
def sorted_names(subject: str, alternate: tuple[str, ...]) -> tuple[str, ...]:
    """Return the DNS names of ``certificate_names`` in order, from the parts of a certificate."""
    names = {common_name(subject), *alternate}
    return tuple(sorted({name.casefold() for name in names if "." in name and " " not in name}))


@lru_cache(maxsize=4096)
def dns_name(text: str) -> str:
    """Return a DNS name as it is compared: in lower case, without the last dot, internationalized labels in Unicode.

    Certificates and SMTP write ``xn--bcher-kva.example`` (RFC 5890), an export may show ``bücher.example``. Not
    folded: that would make one name of two that differ in a sharp s.
    """
    labels = unicodedata.normalize("NFC", text.strip().rstrip(".").lower()).split(".")
    return ".".join(map(_in_unicode, labels))


def _in_unicode(label: str) -> str:
    try:
        return label[4:].encode("ascii").decode("punycode") if label.startswith("xn--") else label
    except UnicodeError:  # no label that IDNA made
        return label


def connector_covers(pattern: str, name: str) -> bool:
    """Return whether a connector's TlsSenderCertificateName covers a certificate's name.

    The connector's ``*.contoso.com`` means contoso.com and every subdomain ("Wildcards are supported to indicate a
    domain and all subdomains", Set-InboundConnector). The certificate's own ``*.contoso.com`` stands for one label
    (RFC 6125 6.4.3).
    """
    left, right = dns_name(pattern), dns_name(name)
    if left == right:
        return True
    if left.startswith("*."):
        domain = right.removeprefix("*.")
        return domain == left[2:] or domain.endswith(left[1:])
    return right.startswith("*.") and left.partition(".")[2] == right[2:]


@lru_cache(maxsize=1024)
def same_name(left: str, right: str) -> bool:
    """Return whether two distinguished names are equal but for case and blanks after commas."""
    return name_parts(left) == name_parts(right)


def name_parts(text: str) -> tuple[tuple[str, str], ...]:
    """Return the attributes of a distinguished name as (key, value) in lower case, with ``S`` for RFC 4514's ``ST``."""
    parts = [part.partition("=") for part in re.split(r",\s*(?=[A-Za-z.0-9]+=)", text.strip().casefold())]
    return tuple(({"st": "s"}.get(key.strip(), key.strip()), value.strip().strip('"')) for key, _, value in parts)


def has_domain_component(text: str) -> bool:
    """Return whether a distinguished name holds ``DC=``: the mark of an authority in a company's own directory."""
    return any(key == "dc" for key, _ in name_parts(text))


def issuer_and_subject(name: str) -> tuple[str, str] | None:
    """Return issuer and subject of ``<I>CN=...<S>CN=...``, as connectors name certificates; None for other names."""
    parts = re.fullmatch(r"\s*<I>(.*)<S>(.*)", name, re.DOTALL | re.IGNORECASE)
    return (parts[1].strip(), parts[2].strip()) if parts else None


def common_name(subject: str) -> str:
    """Return the common name of a distinguished name; the whole text if there is none."""
    part = re.search(r"(?:^|,\s*)CN=\"?([^,\"]+)", subject, re.IGNORECASE)
    return part[1].strip() if part else subject.strip()
