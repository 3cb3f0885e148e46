"""The exported configuration against what a refused session showed: connectors, bound certificates, accepted domains.

Which connector attributes a connection, and what limits it, as Microsoft documents it (Set-InboundConnector, Updated
requirements for SMTP relay through Exchange Online, "Office 365 notice"):

- an enabled inbound connector of type OnPremises that matches by TlsSenderCertificateName or by SenderIPAddresses;
- SenderDomains, RestrictDomainsToCertificate, RestrictDomainsToIPAddresses and RequireTls limit Partner connectors
  only; AssociatedAcceptedDomains limits an OnPremises one;
- the certificate's domain or the sender's is an accepted domain of the tenant, which always has ``*.onmicrosoft.com``.

A property that an export does not hold whole (a list cut by Format-List) can show that something is there, never that
it is not. What was changed after the refusals (WhenChanged) shows what is now: that it fits says nothing of what it
was.
Several exports of one cmdlet are of different times or different tenants: what they do not agree on is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.clock import is_known
from evtx_analyzer.correlate.accepted_domains import (
    DOMAIN_FIELDS,
    Domains,
    accepts,
    added_since,
    shows_all_names,
)
from evtx_analyzer.correlate.fields import Field, facts, verdict
from evtx_analyzer.correlate.send_connectors import SENDER_FIELDS, Sender
from evtx_analyzer.correlate.settings import (
    NOTHING_SEEN_LATER,
    SeenLater,
    agreed,
    as_they_were,
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
)
from evtx_analyzer.exchange import ACCEPTED_DOMAIN, EXCHANGE_CERTIFICATE, INBOUND_CONNECTOR, SEND_CONNECTOR
from evtx_analyzer.exchange_online import is_private, is_remote_side, is_service_name
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Setting
from evtx_analyzer.model.evidence import Rejection
from evtx_analyzer.model.origin import Fields

_WORKING = "InboundConnector.Working"


def check(
    rejection: Rejection,
    sent: Certificate | None,
    objects: Mapping[str, Sequence[Setting]],
    since: datetime | None = None,
    ahead: timedelta = timedelta(),
    later: SeenLater = NOTHING_SEEN_LATER,
) -> Fields:
    """Return what the exported ``objects`` (by cmdlet) say of a refused session.

    What was changed after ``since`` does not show what refused it: by default its own time, where that is known. The
    tenant's objects are dated by Exchange Online's clock, of which the clock of ``since`` is ``ahead``. ``later`` is
    what the logs show of the time after the refusals: an export without dates may be of that time.
    """
    since = since or (rejection.time if is_known(rejection.time_basis) else None)
    online = since and since - ahead
    inbound, domains = objects.get(INBOUND_CONNECTOR, ()), objects.get(ACCEPTED_DOMAIN, ())
    senders, bound = objects.get(SEND_CONNECTOR, ()), objects.get(EXCHANGE_CERTIFICATE, ())
    apart, added = several_tenants(domains), added_since(domains, online)
    connectors, lists = exports(inbound, "Name", apart=apart), exports(domains, "DomainName", apart=apart)
    dated = all(setting.changed is not None for setting in inbound)
    views = [_Inbound(rejection, sent, export, online, NOTHING_SEEN_LATER if dated else later) for export in connectors]
    return {
        **agreed((facts(INBOUND_FIELDS, view) for view in (views if apart else _in_force(views))), _WORKING),
        **facts(SENDER_FIELDS, Sender(rejection, sent, senders, bound, since, later)),
        **agreed(facts(DOMAIN_FIELDS, Domains(rejection, sent, export, added)) for export in lists),
    }


def _in_force(views: Sequence[_Inbound]) -> Sequence[_Inbound]:
    """Return the views of the exports that show the connectors as they were when the mail was refused.

    That is an export of before their last change, unless it fits the session: then the mail would have been taken at
    its time, so that they were changed twice. How they match is not known then, and else what all exports agree on.
    """
    kept = as_they_were([view.connectors for view in views], views[0].since) if views else []
    old = [view for view in views if any(view.connectors is export for export in kept)]
    if len(old) == len(views) or not any(match.any for view in old for match in view.matched):
        return old
    return [replace(view, superseded=True) for view in views]


def mended_at(
    rejection: Rejection, sent: Certificate | None, connectors: Iterable[Setting], since: datetime | None
) -> datetime | None:
    """Return when the first inbound connector that matches a refused session was changed to do so after ``since``."""
    changed = (connector for connector in connectors if changed_since(connector, since))
    working = (connector for connector in changed if _relays(connector) and _enabled(connector))
    # What it shows since its change is what is asked for here.
    matching = (connector for connector in working if _match(connector, rejection, sent, known=True).any)
    return min((connector.changed for connector in matching if connector.changed), default=None)


def configured_at(rejection: Rejection, connectors: Iterable[Setting], until: datetime) -> datetime | None:
    """Return when the inbound connectors became what they were at a time; None unless all tell their last change.

    Where one was changed later, when it was changed before that is not known.
    """
    own = [connector for connector in connectors if not _for_others(connector, rejection)]
    times = [connector.changed if "WhenChangedUTC" in connector.values else None for connector in own]
    known = [time for time in times if time is not None and time <= until]
    return max(known) if known and len(known) == len(times) else None


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
    """Inbound connectors against a refused session.

    That one fits now shows nothing of the time of the refusal where they were changed twice (``superseded``), or where
    an export has no dates and mail is accepted by now that it fits in the same way (``later``).
    """

    rejection: Rejection
    sent: Certificate | None
    connectors: Sequence[Setting]
    since: datetime | None
    later: SeenLater = NOTHING_SEEN_LATER
    superseded: bool = False

    @cached_property
    def of_sender(self) -> list[Setting]:
        """Return the connectors without those of type Partner for the domains of others, whatever became of them."""
        return [connector for connector in self.connectors if not _for_others(connector, self.rejection)]

    @cached_property
    def there(self) -> list[Setting]:
        """Return the connectors without those that were created since, which were not there yet."""
        return [
            connector
            for connector in self.connectors
            if self.since is None or connector.created is None or connector.created <= self.since
        ]

    @cached_property
    def working(self) -> list[Setting]:
        """Return the connectors of type OnPremises that are enabled."""
        return [connector for connector in self.there if _relays(connector) and _enabled(connector)]

    @cached_property
    def unclear(self) -> list[Setting]:
        """Return enabled connectors of a type that the export does not show: a table may leave ConnectorType out."""
        return [connector for connector in self.there if _relays(connector) is None and _enabled(connector)]

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
        matches = (
            _match(setting, self.rejection, self.sent, known=not self.of_another_time(setting))
            for setting in (*self.working, *self.unclear)
        )
        return [
            _Matched(
                match.connector,
                match.name and None if self.later.certificate_accepted else match.name,
                match.address and None if self.later.address_accepted else match.address,
            )
            for match in matches
        ]

    def of_another_time(self, setting: Setting) -> bool:
        """Return whether a connector that fits may have been another one when the mail was refused."""
        return self.superseded or changed_since(setting, self.since)

    def shows(self, name: str) -> bool:
        """Return whether every exported connector that may relay holds a property, as it was at the refusal."""
        if any(changed_since(connector, self.since) for connector in self.of_sender):
            return False
        return all(name in setting.values for setting in (*self.working, *self.unclear))

    @cached_property
    def limits(self) -> tuple[list[str], bool] | None:
        """Return the domains to which all connectors that may match are limited, and whether the sender's is one.

        None where one of them is not limited, or where a list was cut.
        """
        domain = self.rejection.mail_from.rpartition("@")[2]
        candidates = [match.connector for match in self.matched if match.any is not False]
        if any(changed_since(candidate, self.since) for candidate in candidates):
            return None
        limits = [listed(candidate.values.get("AssociatedAcceptedDomains", "")) for candidate in candidates]
        if not domain or not candidates or not all(limits):
            return None
        names = sorted({name for limit in limits for name in limit})
        allowed = any(accepts(name, domain, subdomains=False) for name in names)
        # The list may name an accepted domain by the name or the GUID of its object, which shows no domain.
        nameless = any("." not in name for name in names)
        if allowed and (self.later.certificate_accepted or any(map(self.of_another_time, candidates))):
            return None
        if not allowed and (nameless or any("AssociatedAcceptedDomains" in candidate.cut for candidate in candidates)):
            return None
        return names, allowed


def _any_partner(view: _Inbound) -> bool | None:
    """Return whether a connector of type Partner is there; None where a type is not shown."""
    return verdict(_is_of_type(connector, "Partner") for connector in view.there)


def _any_disabled(view: _Inbound) -> bool | None:
    """Return whether an OnPremises connector is disabled; None where a disabled one does not show its type."""
    return verdict(not _enabled(connector) and _relays(connector) for connector in view.there)


def _names_of(connectors: Iterable[Setting]) -> list[str]:
    return [connector.values.get("Name", "") for connector in connectors]


def _to_change(view: _Inbound) -> list[str]:
    """Return the name of the connector that a fix changes, if it can only be one: it works, or is only disabled."""
    names = _names_of(view.working or [connector for connector in view.there if _relays(connector)])
    return names if len(names) == 1 else []


def _not_working(view: _Inbound) -> list[str]:
    others = [connector for connector in view.there if connector not in view.working]
    names = zip(_names_of(others), others, strict=True)
    return [f"{name} ({named_value(other, 'ConnectorType')}, Enabled: {_enabled(other)})" for name, other in names]


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
    Field("InboundConnector.ToChange", "the name of one, or of one that is disabled, if there is only one", _to_change),
    Field("InboundConnector.NotWorking", "the others, with type and whether they are enabled", _not_working),
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
        lambda view: changes_since(view.of_sender, view.since),
    ),
)


def _relays(setting: Setting) -> bool | None:
    """Return whether a connector is of type OnPremises, the only one that relays; None if its type is not shown."""
    return _is_of_type(setting, "OnPremises")


def _is_of_type(setting: Setting, name: str) -> bool | None:
    shown = named_value(setting, "ConnectorType")
    return same_text(shown, name) if shown else None


def _for_others(setting: Setting, rejection: Rejection) -> bool:
    """Return whether a connector is of type Partner for sender domains that are neither the sender's nor all.

    One of type OnPremises has all (``smtp:*;1``), so that this one has never been of that type.
    """
    written = setting.values.get("SenderDomains", "")
    if not _is_of_type(setting, "Partner") or "SenderDomains" in setting.cut or not rejection.mail_from:
        return False
    # The number behind a domain is its cost.
    domains = [part.casefold().removeprefix("smtp:") for part in listed(written) if not part.isdecimal()]
    sender = rejection.mail_from.rpartition("@")[2]
    return bool(domains) and not any(domain == "*" or accepts(domain, sender, subdomains=True) for domain in domains)


def _match(setting: Setting, rejection: Rejection, sent: Certificate | None, *, known: bool) -> _Matched:
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
    # Behind a gateway, or a device that opens TLS, Exchange Online sees another certificate, and perhaps address.
    reached = is_remote_side(rejection.remote_name, rejection.received, rejection.remote_endpoint) is not False
    if _relays(setting) is None or not known or not reached:
        by_name = by_name and None
        if not (known and is_service_name(rejection.remote_name)):
            by_address = by_address and None
    return _Matched(setting, by_name, by_address)


def _connector_name(setting: Setting) -> str:
    name = setting.values.get("TlsSenderCertificateName", "").strip()
    parts = issuer_and_subject(name)
    return common_name(parts[1]) if parts else name


def _enabled(setting: Setting) -> bool:
    """Return whether a connector is enabled; one whose export lacks the property is taken to be."""
    return not same_text(setting.values.get("Enabled", "True"), "False")
