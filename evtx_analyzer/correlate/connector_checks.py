"""The exported configuration against what a refused session showed: connectors, bound certificates, accepted domains.

Which connector attributes a connection, and what limits it, as Microsoft documents it (Set-InboundConnector, Updated
requirements for SMTP relay through Exchange Online, "Office 365 notice"):

- an enabled inbound connector of type OnPremises that matches by TlsSenderCertificateName or by SenderIPAddresses;
- SenderDomains, RestrictDomainsToCertificate, RestrictDomainsToIPAddresses and RequireTls limit Partner connectors
  only; AssociatedAcceptedDomains limits an OnPremises one;
- the certificate's domain or the sender's is an accepted domain of the tenant, which always has ``*.onmicrosoft.com``.

A property that an export does not hold whole (a list cut by Format-List) can show that something is there, never that
it is not. What was changed after the refusal (WhenChanged) shows what is now: that it fits says nothing of what it was.
Several exports of one cmdlet are of different times or different tenants: what they do not agree on is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from msgspec import Struct

from evtx_analyzer.correlate.accepted_domains import DOMAIN_FIELDS, Domains, accepts, shows_all_names
from evtx_analyzer.correlate.fields import Field, facts, verdict
from evtx_analyzer.correlate.settings import (
    agreed,
    changed_since,
    changes_since,
    exports,
    inside,
    listed,
    named_value,
    same_text,
    several_tenants,
)
from evtx_analyzer.distinguished_names import (
    certificate_names,
    common_name,
    connector_covers,
    issuer_and_subject,
    name_parts,
    same_name,
)
from evtx_analyzer.exchange import ACCEPTED_DOMAIN, EXCHANGE_CERTIFICATE, INBOUND_CONNECTOR, SEND_CONNECTOR
from evtx_analyzer.exchange_online import is_private
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Setting
from evtx_analyzer.model.evidence import Rejection
from evtx_analyzer.model.origin import Fields

_WORKING = "InboundConnector.Working"


def check(rejection: Rejection, sent: Certificate | None, objects: Mapping[str, Sequence[Setting]]) -> Fields:
    """Return what the exported ``objects`` (by cmdlet) say of a refused session."""
    inbound, domains = objects.get(INBOUND_CONNECTOR, ()), objects.get(ACCEPTED_DOMAIN, ())
    sender = _Sender(rejection, sent, objects.get(SEND_CONNECTOR, ()), objects.get(EXCHANGE_CERTIFICATE, ()))
    apart = several_tenants(domains)
    connectors, lists = exports(inbound, "Name", apart=apart), exports(domains, "DomainName", apart=apart)
    return {
        **agreed((facts(INBOUND_FIELDS, _Inbound(rejection, sent, export)) for export in connectors), _WORKING),
        **facts(SENDER_FIELDS, sender),
        **agreed(facts(DOMAIN_FIELDS, Domains(rejection, sent, export)) for export in lists),
    }


# ------------------------------------------------------------------------------------------------ inbound connectors


class _Matched(Struct, frozen=True):
    """Whether a connector matches a session by its name and by its addresses; None where that is not known."""

    connector: Setting
    name: bool | None
    address: bool | None

    @property
    def any(self) -> bool | None:
        """Return whether the connector matches at all."""
        known = (self.name, self.address)
        return True if True in known else None if None in known else False


class _Inbound(Struct, frozen=True, dict=True):
    """Inbound connectors against a refused session."""

    rejection: Rejection
    sent: Certificate | None
    connectors: Sequence[Setting]

    @cached_property
    def working(self) -> list[Setting]:
        """Return the connectors of type OnPremises that are enabled."""
        return [connector for connector in self.connectors if _relays(connector) and _enabled(connector)]

    @cached_property
    def unclear(self) -> list[Setting]:
        """Return enabled connectors of a type that the export does not show: a table may leave ConnectorType out."""
        return [connector for connector in self.connectors if _relays(connector) is None and _enabled(connector)]

    @cached_property
    def names(self) -> list[str]:
        """Return the names by which working connectors match certificates."""
        return [name for setting in self.working if (name := _connector_name(setting))]

    @cached_property
    def scopes(self) -> list[str]:
        """Return the addresses by which working connectors match."""
        return [scope for setting in self.working for scope in listed(setting.values.get("SenderIPAddresses", ""))]

    @cached_property
    def matched(self) -> list[_Matched]:
        """Return whether each connector that may relay matches the session."""
        return [_match(setting, self.rejection, self.sent) for setting in (*self.working, *self.unclear)]

    def shows(self, name: str) -> bool:
        """Return whether every exported connector that may relay holds a property, as it was at the refusal."""
        if any(changed_since(connector, self.rejection) for connector in self.connectors):
            return False
        return all(name in setting.values for setting in (*self.working, *self.unclear))

    @cached_property
    def limits(self) -> tuple[list[str], bool] | None:
        """Return the domains to which all connectors that may match are limited, and whether the sender's is one.

        None where one of them is not limited, or where a list was cut.
        """
        domain = self.rejection.mail_from.rpartition("@")[2]
        candidates = [match.connector for match in self.matched if match.any is not False]
        if any(changed_since(candidate, self.rejection) for candidate in candidates):
            return None
        limits = [listed(candidate.values.get("AssociatedAcceptedDomains", "")) for candidate in candidates]
        if not domain or not candidates or not all(limits):
            return None
        names = sorted({name for limit in limits for name in limit})
        allowed = any(accepts(name, domain, subdomains=False) for name in names)
        # The list may name an accepted domain by the name or the GUID of its object, which shows no domain.
        nameless = any("." not in name for name in names)
        if not allowed and (nameless or any("AssociatedAcceptedDomains" in candidate.cut for candidate in candidates)):
            return None
        return names, allowed


def _any_partner(view: _Inbound) -> bool | None:
    """Return whether a connector of type Partner is there; None where a type is not shown."""
    return verdict(_is_of_type(connector, "Partner") for connector in view.connectors)


def _any_disabled(view: _Inbound) -> bool | None:
    """Return whether an OnPremises connector is disabled; None where a disabled one does not show its type."""
    return verdict(not _enabled(connector) and _relays(connector) for connector in view.connectors)


def _names_of(connectors: Iterable[Setting]) -> list[str]:
    return [connector.values.get("Name", "") for connector in connectors]


def _names_match(view: _Inbound) -> bool | None:
    return verdict(match.name for match in view.matched if _connector_name(match.connector))


def _addresses_match(view: _Inbound) -> bool | None:
    addressed = (match for match in view.matched if listed(match.connector.values.get("SenderIPAddresses", "")))
    return verdict(match.address for match in addressed)


INBOUND_FIELDS = (
    Field(
        _WORKING,
        "whether an enabled connector of type OnPremises is there",
        lambda view: bool(view.working) if view.working or not view.unclear else None,
    ),
    Field("InboundConnector.Name", "their names", lambda view: _names_of(view.working)),
    Field("InboundConnector.Partner", "whether a connector of type Partner is there", _any_partner),
    Field("InboundConnector.Disabled", "whether one of type OnPremises is disabled", _any_disabled),
    Field("InboundConnector.CertificateName", "TlsSenderCertificateName of those that work", lambda view: view.names),
    Field("InboundConnector.Address", "SenderIPAddresses of those that work", lambda view: view.scopes),
    Field(
        "InboundConnector.ByCertificate",
        "whether one of them goes by a certificate",
        lambda view: bool(view.names) if view.names or view.shows("TlsSenderCertificateName") else None,
    ),
    Field(
        "InboundConnector.ByAddress",
        "whether one of them goes by addresses",
        lambda view: bool(view.scopes) if view.scopes or view.shows("SenderIPAddresses") else None,
    ),
    Field(
        "InboundConnector.MatchingName",
        "names of connectors whose certificate name the certificate that was sent has",
        lambda view: _names_of(match.connector for match in view.matched if match.name),
    ),
    Field("InboundConnector.CertificateMatches", "whether there is one", _names_match),
    Field("InboundConnector.AddressMatches", "whether one holds the address that was seen", _addresses_match),
    Field(
        "InboundConnector.AssociatedDomain",
        "AssociatedAcceptedDomains, where all connectors that may match have them",
        lambda view: view.limits[0] if view.limits else None,
    ),
    Field(
        "InboundConnector.AssociatedDomainMatches",
        "whether the sender's domain is one of them",
        lambda view: view.limits[1] if view.limits else None,
    ),
    Field(
        "InboundConnector.ChangedSince",
        "connectors that were changed after the refusal (WhenChanged), with the time",
        lambda view: changes_since(view.connectors, view.rejection),
    ),
)


def _relays(setting: Setting) -> bool | None:
    """Return whether a connector is of type OnPremises, the only one that relays; None if its type is not shown."""
    return _is_of_type(setting, "OnPremises")


def _is_of_type(setting: Setting, name: str) -> bool | None:
    shown = named_value(setting, "ConnectorType")
    return same_text(shown, name) if shown else None


def _match(setting: Setting, rejection: Rejection, sent: Certificate | None) -> _Matched:
    name = _connector_name(setting)
    own = certificate_names(sent) if sent is not None else set()
    by_name: bool | None = False if "TlsSenderCertificateName" in setting.values else None
    if name:
        by_name = any(connector_covers(name, own_name) for own_name in own) or (
            False if shows_all_names(rejection, sent) else None
        )
    scopes = listed(setting.values.get("SenderIPAddresses", ""))
    by_address: bool | None = False if "SenderIPAddresses" in setting.values else None
    if scopes:
        seen = rejection.seen_address
        held = [inside(seen, scope) for scope in scopes]
        # A private address is not what Exchange Online matches: a gateway or a masked log wrote it.
        unknown = None in held or is_private(seen) or "SenderIPAddresses" in setting.cut
        by_address = True if True in held else None if unknown else False
    if _relays(setting) is None or changed_since(setting, rejection):
        by_name, by_address = by_name and None, by_address and None
    return _Matched(setting, by_name, by_address)


def _connector_name(setting: Setting) -> str:
    name = setting.values.get("TlsSenderCertificateName", "").strip()
    parts = issuer_and_subject(name)
    return common_name(parts[1]) if parts else name


# ------------------------------------------------------------------------------------- Send connectors, certificates


class _Sender(Struct, frozen=True, dict=True):
    """The Send connector of a refused session, and the certificates of the server, against what was sent."""

    rejection: Rejection
    sent: Certificate | None
    connectors: Sequence[Setting]
    certificates: Sequence[Setting]

    @cached_property
    def own(self) -> list[Setting]:
        """Return the exports of the session's connector; there are several if it was exported again after a change."""
        name = self.rejection.connector
        return [setting for setting in self.connectors if same_text(setting.values.get("Name", ""), name)]

    @cached_property
    def wanted(self) -> list[tuple[str, str]]:
        """Return issuer and subject of each TlsCertificateName."""
        written = [issuer_and_subject(setting.values.get("TlsCertificateName", "")) for setting in self.own]
        return [names for names in written if names]

    @cached_property
    def shown(self) -> list[Setting]:
        """Return the entries of Get-ExchangeCertificate for the certificate that was sent.

        That there is none shows nothing: the export may be another server's, or older than the certificate.
        """
        sent = self.sent.thumbprint if self.sent else ""
        same = [setting for setting in self.certificates if same_text(setting.values.get("Thumbprint", ""), sent)]
        return same if self.sent else []


def _certificate_set(view: _Sender) -> bool | None:
    if changes_since(view.own, view.rejection):
        return None
    written = [setting.values["TlsCertificateName"] for setting in view.own if "TlsCertificateName" in setting.values]
    return bool(written[-1].strip()) if written else None


def _sent_as_set(view: _Sender) -> bool | None:
    """Return whether the certificate that was sent has the names that the connector asks for."""
    sent = view.sent
    if sent is None or not sent.subject or not sent.issuer or changes_since(view.own, view.rejection):
        return None
    answers = set()
    for issuer, subject in view.wanted:
        # Where the subject ends and the issuer begins is a guess in some logs; both names together are no guess.
        same = same_name(f"{subject} {issuer}", f"{sent.subject} {sent.issuer}")
        # Whether Exchange finds a name whose parts are written in another order is not documented.
        if same or not (_same_parts(issuer, sent.issuer) and _same_parts(subject, sent.subject)):
            answers.add(same)
    # Exports from before and after a change contradict each other: which one was in force is not known.
    return answers.pop() if len(answers) == 1 else None


def _set_subject(view: _Sender) -> str | None:
    sent = view.sent
    if not view.wanted or sent is None or not sent.subject or not sent.issuer:
        return None
    issuer, subject = view.wanted[-1]
    return f"{subject} (issued by {issuer})"


def _same_parts(left: str, right: str) -> bool:
    """Return whether two distinguished names hold the same attributes, whatever their order."""
    return sorted(name_parts(left)) == sorted(name_parts(right))


def _values_of_sent(view: _Sender, name: str) -> list[str]:
    return sorted({setting.values.get(name, "") for setting in view.shown})


def _fitting(view: _Sender) -> list[str]:
    """Return the certificates that fit one TlsCertificateName; none unless several do."""
    for wanted in reversed(view.wanted):
        fitting = [setting for setting in view.certificates if _fits(setting, wanted)]
        if len(thumbprints := {setting.values.get("Thumbprint", "").upper() for setting in fitting}) > 1:
            return sorted(thumbprints)
    return []


def _bound_to_smtp(setting: Setting) -> bool | None:
    if "smtp" in setting.values.get("Services", "").casefold():
        return True
    return False if named_value(setting, "Services") and "Services" not in setting.cut else None


SENDER_FIELDS = (
    Field("SendConnector.CertificateSet", "whether TlsCertificateName is set", _certificate_set),
    Field("SendConnector.CertificateMatches", "whether it names the certificate that was sent", _sent_as_set),
    Field("SendConnector.Subject", "subject and issuer in it", _set_subject),
    Field(
        "ExchangeCertificate.BoundToSmtp",
        "whether Services of the certificate that was sent hold SMTP",
        lambda view: verdict(_bound_to_smtp(certificate) for certificate in view.shown),
    ),
    Field("ExchangeCertificate.RootCAType", "its RootCAType", lambda view: _values_of_sent(view, "RootCAType")),
    Field(
        "ExchangeCertificate.HasPrivateKey", "its HasPrivateKey", lambda view: _values_of_sent(view, "HasPrivateKey")
    ),
    Field(
        "SendConnector.ChangedSince",
        "the time, where it was changed after the refusal (WhenChanged)",
        lambda view: changes_since(view.own, view.rejection),
    ),
    Field("ExchangeCertificate.FittingOneName", "the certificates, where several fit one TlsCertificateName", _fitting),
)


def _fits(setting: Setting, wanted: tuple[str, str]) -> bool:
    issuer, subject = setting.values.get("Issuer", ""), setting.values.get("Subject", "")
    return bool(issuer and subject) and same_name(wanted[0], issuer) and same_name(wanted[1], subject)


def _enabled(setting: Setting) -> bool:
    """Return whether a connector is enabled; one whose export lacks the property is taken to be."""
    return not same_text(setting.values.get("Enabled", "True"), "False")
