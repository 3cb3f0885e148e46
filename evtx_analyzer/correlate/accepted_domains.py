"""The tenant's accepted domains against the sender and the certificate of a refused session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cached_property

from msgspec import Struct

from evtx_analyzer.correlate.fields import Field
from evtx_analyzer.correlate.settings import same_text
from evtx_analyzer.distinguished_names import certificate_names, dns_name
from evtx_analyzer.exchange_online import is_initial_domain
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Setting
from evtx_analyzer.model.evidence import Rejection


class Domains(Struct, frozen=True, dict=True):
    """Accepted domains against the sender and the certificate of a refused session.

    ``added_since`` are the names of those that were added after the refusal, by any export.
    """

    rejection: Rejection
    sent: Certificate | None
    domains: Sequence[Setting]
    added_since: frozenset[str]

    @cached_property
    def accepted(self) -> dict[str, bool]:
        """Return the accepted domains, each with whether its subdomains are accepted too."""
        named = [(domain.values.get("DomainName", "").strip(), domain) for domain in self.domains]
        return {name: same_text(setting.values.get("MatchSubDomains", ""), "True") for name, setting in named if name}

    def held(self, name: str) -> bool | None:
        """Return whether a name was accepted at the refusal; None if its domain was added later, perhaps again."""
        holding = {domain for domain, below in self.accepted.items() if accepts(domain, name, subdomains=below)}
        return True if holding - self.added_since else None if holding else False

    @cached_property
    def whole(self) -> bool:
        """Return whether the export lists all accepted domains."""
        return all(domain.values.get("DomainName") and "DomainName" not in domain.cut for domain in self.domains)

    @cached_property
    def of_tenant(self) -> bool:
        """Return whether it is the tenant's list, which always holds the initial domain.

        Get-AcceptedDomain exists on the server too, where it lists the organization's domains.
        """
        return any(is_initial_domain(name) for name in self.accepted)

    @cached_property
    def names(self) -> list[str]:
        """Return the names of the certificate that was sent, where the list is the tenant's."""
        known = certificate_names(self.sent) if self.sent is not None and self.of_tenant else ()
        return [name.removeprefix("*.") for name in known]

    @cached_property
    def holds_certificate(self) -> bool | None:
        """Return whether a name of the certificate was accepted."""
        held = {self.held(name) for name in self.names}
        return True if True in held else None if None in held else False


def added_since(domains: Iterable[Setting], since: datetime | None) -> frozenset[str]:
    """Return the names of the domains that were added after a time, as far as an export tells (WhenCreated).

    An earlier export may hold the same domain: it was removed in between, and when is not known.
    """
    return frozenset(
        domain.values.get("DomainName", "").strip()
        for domain in domains
        if since is not None and domain.created is not None and domain.created > since
    )


def _tenants_own(view: Domains) -> bool | None:
    if not view.accepted:
        return None
    return True if view.of_tenant else False if view.whole else None


def _sender_accepted(view: Domains) -> bool | None:
    sender = view.rejection.mail_from.rpartition("@")[2]
    if not view.of_tenant or not (sender or view.rejection.null_sender):
        return None
    # MAIL FROM:<> names no domain that could be accepted.
    held = view.held(sender)
    return held if held is not False else False if view.whole or not sender else None


def _sender_added_since(view: Domains) -> bool | None:
    sender = view.rejection.mail_from.rpartition("@")[2]
    if not view.of_tenant or not sender:
        return None
    return view.held(sender) is None


def _certificate_accepted(view: Domains) -> bool | None:
    if not view.names:
        return None
    known = view.whole and shows_all_names(view.rejection, view.sent)
    return view.holds_certificate if view.holds_certificate is not False else False if known else None


def _above_accepted(view: Domains) -> bool | None:
    """Return whether only a domain above a name of the certificate is accepted.

    Microsoft does not document whether that is enough ("mail.contoso.com may not be registered").
    """
    if not view.names:
        return None
    above = any(accepts(domain, name, subdomains=True) for domain in view.accepted for name in view.names)
    return None if view.holds_certificate is None else above and not view.holds_certificate


DOMAIN_FIELDS = (
    Field("AcceptedDomain.OfTenant", "whether the list is the tenant's; the others are absent if not", _tenants_own),
    Field("AcceptedDomain.Sender", "whether the sender's domain is accepted", _sender_accepted),
    Field(
        "AcceptedDomain.SenderAddedSince",
        "whether only domains that were created after the refusal hold it",
        _sender_added_since,
    ),
    Field("AcceptedDomain.Certificate", "whether a name of the certificate that was sent is", _certificate_accepted),
    Field("AcceptedDomain.AboveCertificate", "whether only a domain above such a name is", _above_accepted),
)


def accepts(domain: str, name: str, *, subdomains: bool) -> bool:
    """Return whether an accepted domain holds a name: its own, or with ``subdomains`` one below it."""
    plain, asked = dns_name(domain.removeprefix("*.")), dns_name(name)
    below = subdomains or domain.startswith("*.")
    return bool(asked) and (asked == plain or (below and asked.endswith("." + plain)))


def shows_all_names(rejection: Rejection, sent: Certificate | None) -> bool:
    """Return whether all names of the certificate are known; rows with alternate names may be missing from the log."""
    if sent is None or not certificate_names(sent):
        return False
    return rejection.from_start or bool(sent.alternate_names)
