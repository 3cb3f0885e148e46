"""The exported configuration against what a refused session showed: connectors, bound certificates, accepted domains.

Which connector attributes a connection, and what limits it, as Microsoft documents it (Set-InboundConnector, Updated
requirements for SMTP relay through Exchange Online, "Office 365 notice"):

- an enabled inbound connector of type OnPremises that matches by TlsSenderCertificateName or by SenderIPAddresses;
- SenderDomains, RestrictDomainsToCertificate, RestrictDomainsToIPAddresses and RequireTls limit Partner connectors
  only; AssociatedAcceptedDomains limits an OnPremises one;
- the certificate's domain or the sender's is an accepted domain of the tenant, which always has ``*.onmicrosoft.com``.

A property that an export does not hold whole (a list cut by Format-List) can show that something is there, never that
it is not.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from evtx_analyzer.distinguished_names import (
    certificate_names,
    common_name,
    connector_covers,
    issuer_and_subject,
    name_parts,
    same_name,
)
from evtx_analyzer.exchange import ACCEPTED_DOMAIN, EXCHANGE_CERTIFICATE, INBOUND_CONNECTOR, SEND_CONNECTOR
from evtx_analyzer.exchange_online import is_initial_domain, is_private, parse_address
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Setting
from evtx_analyzer.model.evidence import Rejection

Facts = dict[str, list[str]]


class _Matched(Struct, frozen=True):
    """How a working OnPremises connector stands to a session: by name, by address, None where that is not known."""

    connector: Setting
    name: bool | None
    address: bool | None

    @property
    def any(self) -> bool | None:
        """Whether the connector matches at all."""
        known = (self.name, self.address)
        return True if True in known else None if None in known else False


def check(rejection: Rejection, sent: Certificate | None, objects: Mapping[str, Sequence[Setting]]) -> Facts:
    """What the exported ``objects`` (by cmdlet) say of a refused session."""
    facts: Facts = {}
    _add_inbound(facts, rejection, sent, objects.get(INBOUND_CONNECTOR, ()))
    _add_send(facts, rejection, sent, objects.get(SEND_CONNECTOR, ()))
    _add_certificates(facts, rejection, sent, objects)
    _add_domains(facts, rejection, sent, objects.get(ACCEPTED_DOMAIN, ()))
    return facts


# ------------------------------------------------------------------------------------------------ inbound connectors


def _add_inbound(facts: Facts, rejection: Rejection, sent: Certificate | None, connectors: Sequence[Setting]) -> None:
    if not connectors:
        return
    relaying = [item for item in connectors if _relays(item)]
    # A table that does not show ConnectorType does not show whether a connector relays.
    unclear = [item for item in connectors if _relays(item) is None and _enabled(item)]
    working = [item for item in relaying if _enabled(item)]
    if working or not unclear:
        facts["InboundConnector.Working"] = [yes(bool(working))]
    facts["InboundConnector.Name"] = [item.values.get("Name", "") for item in working]
    facts["InboundConnector.Partner"] = [yes(any(_is(item, "ConnectorType", "Partner") for item in connectors))]
    facts["InboundConnector.Disabled"] = [yes(len(working) < len(relaying))]
    names = [name for item in working if (name := _connector_name(item))]
    scopes = [address for item in working for address in listed(item.values.get("SenderIPAddresses", ""))]
    facts["InboundConnector.CertificateName"] = names
    facts["InboundConnector.Address"] = scopes
    # A property that no export holds says nothing: neither that there is a name, nor that there is none.
    if names or all("TlsSenderCertificateName" in item.values for item in (*working, *unclear)):
        facts["InboundConnector.ByCertificate"] = [yes(bool(names))]
    if scopes or all("SenderIPAddresses" in item.values for item in (*working, *unclear)):
        facts["InboundConnector.ByAddress"] = [yes(bool(scopes))]
    matched = [_match(item, rejection, sent) for item in (*working, *unclear)]
    named = [item for item in matched if _connector_name(item.connector)]
    facts["InboundConnector.MatchingName"] = [item.connector.values.get("Name", "") for item in matched if item.name]
    facts["InboundConnector.CertificateMatches"] = _verdict([item.name for item in named])
    addressed = [item for item in matched if listed(item.connector.values.get("SenderIPAddresses", ""))]
    facts["InboundConnector.AddressMatches"] = _verdict([item.address for item in addressed])
    _add_limits(facts, rejection, matched)


def _verdict(matches: Sequence[bool | None]) -> list[str]:
    """``true`` where any matches, ``false`` where all are known not to, else nothing."""
    if True in matches:
        return [yes(True)]
    return [yes(False)] if matches and None not in matches else []


def _relays(item: Setting) -> bool | None:
    """Whether a connector is of type OnPremises, the only one that relays; None where the export does not show it."""
    return _is(item, "ConnectorType", "OnPremises") if _named_value(item, "ConnectorType") else None


def _match(item: Setting, rejection: Rejection, sent: Certificate | None) -> _Matched:
    name = _connector_name(item)
    own = certificate_names(sent) if sent is not None else set()
    by_name: bool | None = False if "TlsSenderCertificateName" in item.values else None
    if name:
        by_name = any(connector_covers(name, one) for one in own) or (
            False if _shows_all_names(rejection, sent) else None
        )
    scopes = listed(item.values.get("SenderIPAddresses", ""))
    by_address: bool | None = False if "SenderIPAddresses" in item.values else None
    if scopes:
        seen = rejection.seen_address
        held = [inside(seen, scope) for scope in scopes]
        # A private address is not what Exchange Online matches: a gateway or a masked log wrote it.
        unknown = None in held or is_private(seen) or "SenderIPAddresses" in item.cut
        by_address = True if True in held else None if unknown else False
    if _relays(item) is None:
        by_name, by_address = by_name and None, by_address and None
    return _Matched(item, by_name, by_address)


def _shows_all_names(rejection: Rejection, sent: Certificate | None) -> bool:
    """Whether the names of the certificate are known, or rows with alternate names may be missing from the session."""
    if sent is None or not certificate_names(sent):
        return False
    return rejection.from_start or bool(sent.alternate_names)


def _add_limits(facts: Facts, rejection: Rejection, matched: Sequence[_Matched]) -> None:
    """Whether every connector that may match applies to certain accepted domains only, and not to the sender's."""
    domain = rejection.mail_from.rpartition("@")[2].casefold()
    candidates = [item.connector for item in matched if item.any is not False]
    limits = [listed(item.values.get("AssociatedAcceptedDomains", "")) for item in candidates]
    if not domain or not candidates or not all(limits):
        return
    allowed = any(_accepts(name.casefold(), domain, subdomains=False) for names in limits for name in names)
    if allowed or not any("AssociatedAcceptedDomains" in item.cut for item in candidates):
        facts["InboundConnector.AssociatedDomain"] = sorted({name for names in limits for name in names})
        facts["InboundConnector.AssociatedDomainMatches"] = [yes(allowed)]


def _connector_name(item: Setting) -> str:
    name = item.values.get("TlsSenderCertificateName", "").strip()
    parts = issuer_and_subject(name)
    return common_name(parts[1]) if parts else name


# ------------------------------------------------------------------------------------- Send connectors, certificates


def _add_send(facts: Facts, rejection: Rejection, sent: Certificate | None, connectors: Sequence[Setting]) -> None:
    """The Send connector's own setting against the certificate that was sent."""
    verdicts: set[bool] = set()
    for item in (one for one in connectors if same_text(one.values.get("Name", ""), rejection.connector)):
        written = item.values.get("TlsCertificateName", "").strip()
        if "TlsCertificateName" in item.values:
            facts["SendConnector.CertificateSet"] = [yes(bool(written))]
        wanted = issuer_and_subject(written)
        if wanted and sent is not None and sent.subject and sent.issuer:
            same = same_name(wanted[0], sent.issuer) and same_name(wanted[1], sent.subject)
            # Whether Exchange finds names whose parts stand the other way round is not documented.
            if same or not (_same_parts(wanted[0], sent.issuer) and _same_parts(wanted[1], sent.subject)):
                verdicts.add(same)
            facts["SendConnector.Subject"] = [f"{wanted[1]} (issued by {wanted[0]})"]
    # Two exports of one connector, from before and after a change, tell nothing together.
    if len(verdicts) == 1:
        facts["SendConnector.CertificateMatches"] = [yes(verdicts.pop())]


def _same_parts(left: str, right: str) -> bool:
    """Whether two distinguished names hold the same attributes, whatever their order."""
    return sorted(name_parts(left)) == sorted(name_parts(right))


def _add_certificates(
    facts: Facts, rejection: Rejection, sent: Certificate | None, objects: Mapping[str, Sequence[Setting]]
) -> None:
    """What Get-ExchangeCertificate says of the certificate that was sent, and of others with the same two names."""
    certificates = objects.get(EXCHANGE_CERTIFICATE, ())
    # A certificate that the export does not list at all is another server's, or the export is older than it.
    listed_own = [
        item for item in certificates if sent and same_text(item.values.get("Thumbprint", ""), sent.thumbprint)
    ]
    own = [item.values for item in listed_own]
    bound = [_bound_to_smtp(item) for item in listed_own]
    facts["ExchangeCertificate.BoundToSmtp"] = _verdict(bound)
    for field in ("RootCAType", "HasPrivateKey"):
        facts[f"ExchangeCertificate.{field}"] = sorted({values.get(field, "") for values in own})
    for connector in objects.get(SEND_CONNECTOR, ()):
        wanted = issuer_and_subject(connector.values.get("TlsCertificateName", ""))
        if wanted and same_text(connector.values.get("Name", ""), rejection.connector):
            fitting = {item.values.get("Thumbprint", "").upper() for item in certificates if _fits(item, wanted)}
            if len(fitting) > 1:
                facts["ExchangeCertificate.FittingOneName"] = sorted(fitting)


def _bound_to_smtp(item: Setting) -> bool | None:
    if "smtp" in item.values.get("Services", "").casefold():
        return True
    return False if _named_value(item, "Services") and "Services" not in item.cut else None


def _named_value(item: Setting, name: str) -> str:
    """The value of an enumeration by its name; empty where there is none, or only its number (``ConvertTo-Json``)."""
    value = item.values.get(name, "").strip()
    return "" if value.lstrip("-").isdecimal() else value


def _fits(item: Setting, wanted: tuple[str, str]) -> bool:
    issuer, subject = item.values.get("Issuer", ""), item.values.get("Subject", "")
    return bool(issuer and subject) and same_name(wanted[0], issuer) and same_name(wanted[1], subject)


# ------------------------------------------------------------------------------------------------- accepted domains


def _add_domains(facts: Facts, rejection: Rejection, sent: Certificate | None, domains: Sequence[Setting]) -> None:
    """Whether sender and certificate belong to accepted domains of the tenant."""
    named = [(item.values.get("DomainName", "").casefold(), item) for item in domains]
    accepted = {name: same_text(item.values.get("MatchSubDomains", ""), "True") for name, item in named if name}
    if not accepted:
        return
    whole = all(item.values.get("DomainName") and "DomainName" not in item.cut for item in domains)
    # Get-AcceptedDomain exists on the server too, where it lists the organization's domains. The tenant's own list
    # always holds its initial domain.
    tenant = any(is_initial_domain(name) for name in accepted)
    facts["AcceptedDomain.OfTenant"] = _verdict([True if tenant else False if whole else None])
    if not tenant:
        return
    sender = rejection.mail_from.rpartition("@")[2].casefold()
    if sender or rejection.null_sender:
        # MAIL FROM:<> names no domain that could be accepted.
        held = any(_accepts(name, sender, subdomains=below) for name, below in accepted.items())
        facts["AcceptedDomain.Sender"] = _verdict([held or (False if whole or not sender else None)])
    own = [name.removeprefix("*.") for name in certificate_names(sent)] if sent is not None else []
    if own:
        exact = any(_accepts(name, one, subdomains=below) for name, below in accepted.items() for one in own)
        known = whole and _shows_all_names(rejection, sent)
        facts["AcceptedDomain.Certificate"] = _verdict([exact or (False if known else None)])
        # "mail.contoso.com may not be registered": whether the domain above it is enough is not documented.
        above = any(_accepts(name, one, subdomains=True) for name in accepted for one in own)
        facts["AcceptedDomain.AboveCertificate"] = [yes(above and not exact)]


def _accepts(domain: str, name: str, *, subdomains: bool) -> bool:
    """Whether an accepted domain holds a name: its own, and those below it where the tenant says so."""
    plain = domain.removeprefix("*.")
    below = subdomains or domain.startswith("*.")
    return bool(name) and (name == plain or (below and name.endswith("." + plain)))


# ------------------------------------------------------------------------------------------------------------ values


def inside(address: str, scope: str) -> bool | None:
    """Whether an address or a CIDR range holds an address; None where either cannot be read as such."""
    seen = parse_address(address)
    try:
        return None if seen is None else seen in ipaddress.ip_network(scope, strict=False)
    except ValueError:
        return None


def listed(value: str) -> list[str]:
    """Entries of a list as Format-List, JSON or Clixml write it."""
    return [part for part in re.split(r"[,;\s]+", value.strip().strip("{}")) if part]


def _is(item: Setting, name: str, value: str) -> bool:
    return same_text(item.values.get(name, ""), value)


def _enabled(item: Setting) -> bool:
    """A connector without the property is taken as enabled: not every export holds it."""
    return not same_text(item.values.get("Enabled", "True"), "False")


def same_text(left: str, right: str) -> bool:
    """Whether two texts are the same, whatever the case and the blanks around."""
    return left.strip().casefold() == right.strip().casefold()


def yes(value: bool) -> str:
    """A fact as rules compare it."""
    return "true" if value else "false"


def texts(facts: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Facts without empty values; a fact without any is absent."""
    return {name: kept for name, values in facts.items() if (kept := tuple([value for value in values if value]))}
