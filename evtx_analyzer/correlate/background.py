"""What surrounds a refusal: configuration, certificates and delivery history, laid beside each refused session and
check.

The result is a flat view per refusal (Sigma service ``smtp-session``) and per chain operation (``chain-
operation``), on which signals run as on any event; ``docs/rules.md`` lists the fields. A field is absent where
nothing tells: no export, no certificate shown by the log. Absence is never read as "no".

Relay rules since 2023-11-01: relaying needs an inbound connector of type OnPremises that matches by certificate
name or by source address, and a certificate or sender domain that is an accepted domain of the tenant (Exchange
team: Updated requirements for SMTP relay through Exchange Online).
"""

from __future__ import annotations

import ipaddress
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property, lru_cache

from msgspec import Struct

from evtx_analyzer.constants import (
    ACCEPTED_DOMAIN,
    CMDLET_PROPERTIES,
    EXCHANGE_CERTIFICATE,
    INBOUND_CONNECTOR,
    SEND_CONNECTOR,
)
from evtx_analyzer.model import (
    Certificate,
    CertificateFile,
    Delivery,
    Event,
    Fields,
    Operation,
    Origin,
    Rejection,
    Setting,
    place,
)

# Logs that write what certificate a session sends, if it sends one; IIS SMTP logs write the commands only.
SHOWS_CERTIFICATES = ("send-connector",)
SHOWS_COMMANDS = ("send-connector", "iis-smtp")
_RECENT = timedelta(minutes=10)


class _Past(Struct, frozen=True):
    """What one connector did with one certificate: first acceptance and refusal, and the certificate before it."""

    accepted: datetime | None
    refused: datetime | None
    previous: Delivery | None


class Background(Struct, frozen=True, kw_only=True, dict=True):
    """Everything beside sessions and checks; ``certificates`` by thumbprint, from event 90 and from files.

    What thousands of refusals ask in the same way is answered once (``dict`` keeps the answers).
    """

    settings: tuple[Setting, ...] = ()
    certificates: Mapping[str, Certificate] = {}
    deliveries: tuple[Delivery, ...] = ()

    def places(self) -> dict[str, Origin]:
        """Where the first exported object of each cmdlet stands."""
        found: dict[str, Origin] = {}
        for item in sorted(self.settings, key=lambda item: place(item.origin)):
            found.setdefault(item.cmdlet, item.origin)
        return found

    def objects(self, cmdlet: str) -> list[Mapping[str, str]]:
        """Properties of every exported object of a cmdlet, without those of which a table has cut what is compared."""
        return self._objects.get(cmdlet, [])

    @cached_property
    def _objects(self) -> Mapping[str, list[Mapping[str, str]]]:
        found: dict[str, list[Mapping[str, str]]] = {}
        for item in self.settings:
            if not (item.cut - item.values.keys()) & CMDLET_PROPERTIES.get(item.cmdlet, frozenset()) - {"Subject"}:
                found.setdefault(item.cmdlet, []).append(item.values)
        return found

    @cached_property
    def history(self) -> Mapping[tuple[str, ...], list[Delivery]]:
        """Deliveries by connector, log kind, host and thumbprint."""
        found: dict[tuple[str, ...], list[Delivery]] = {}
        for item in self.deliveries:
            found.setdefault((*_sender(item), item.thumbprint), []).append(item)
        return found

    @cached_property
    def accepted(self) -> Mapping[tuple[str, ...], list[tuple[datetime, Delivery]]]:
        """Last acceptances with a certificate, in order, by connector, log kind and host."""
        found: dict[tuple[str, ...], list[tuple[datetime, Delivery]]] = {}
        for item in self.deliveries:
            if item.thumbprint and item.last_accepted:
                found.setdefault(_sender(item), []).append((item.last_accepted, item))
        return {key: sorted(rows, key=_first) for key, rows in found.items()}

    @cached_property
    def failures(self) -> Mapping[tuple[str, ...], list[tuple[datetime, str]]]:
        """First and last failures of TLS negotiations with their errors, in order, by the same."""
        found: dict[tuple[str, ...], list[tuple[datetime, str]]] = {}
        for item in self.deliveries:
            times = (item.first_tls_failure, item.last_tls_failure)
            found.setdefault(_sender(item), []).extend((time, item.tls_error) for time in times if time is not None)
        return {key: sorted(rows, key=_first) for key, rows in found.items()}

    @cached_property
    def pasts(self) -> dict[tuple[str, ...], _Past]:
        """What ``_past`` found, by connector, log kind, host and thumbprint."""
        return {}

    @cached_property
    def configured(self) -> dict[tuple[Certificate | None, str, str, str], dict[str, list[str]]]:
        """What ``_configuration`` found, by what it looks at."""
        return {}


def background(aside: Iterable[Event], operations: Iterable[Operation], deliveries: tuple[Delivery, ...]) -> Background:
    """Settings and certificate files from what was put aside, certificates that event 90 shows, delivery history.

    A file tells more of a certificate than event 90 does, so it wins.
    """
    things = list(aside)
    shown = [item.certificate for item in operations if item.certificate]
    files = [item.certificate for item in things if isinstance(item, CertificateFile)]
    return Background(
        settings=tuple(item for item in things if isinstance(item, Setting)),
        certificates={item.thumbprint: item for item in (*shown, *files) if item.thumbprint and item.subject},
        deliveries=deliveries,
    )


def operation_fields(operation: Operation, background: Background) -> Fields:
    """The view of one certificate check."""
    known = background.certificates.get(operation.thumbprint) or operation.certificate
    found: dict[str, list[str]] = {
        "Policy": [operation.policy],
        "Result": [operation.result],
        "ResultName": [operation.result_name],
        "ChainResult": [operation.chain_result],
        "ChainStatus": list(operation.chain_status),
        "Thumbprint": [operation.thumbprint],
        "Subject": [operation.subject],
        "ServerName": [operation.server_name],
        "ProcessName": [operation.process],
        "RemoteName": [name for name in (operation.subject, operation.server_name) if _is_exchange_online(name)],
    }
    if operation.elements:
        found["Elements"] = [str(len(operation.elements))]
        found["LastElementSelfSigned"] = [_yes(operation.elements[-1].self_signed)]
        found["SelfSigned"] = [_yes(len(operation.elements) == 1 and operation.elements[0].self_signed)]
        found["LeafStatus"] = list(operation.elements[0].errors)
    if known and known.not_after and known.not_before:
        found["Expired"] = [_yes(known.not_after < operation.time)]
        found["NotYetValid"] = [_yes(known.not_before > operation.time)]
    return _fields(found)


def rejection_fields(rejection: Rejection, background: Background) -> Fields:
    """The view of one refused session."""
    sent = _completed(rejection.sent, background)
    found: dict[str, list[str]] = {
        "Kind": [rejection.kind],
        "Computer": [rejection.host],
        "Connector": [rejection.connector],
        "RemoteName": [rejection.remote_name],
        "MailFrom": [rejection.mail_from],
        "MailFromDomain": [rejection.mail_from.rpartition("@")[2]],
        "NullSender": [_yes(not rejection.mail_from)] if rejection.stage else [],
        "Stage": [rejection.stage],
        "Reply": [rejection.reply],
        "Attribution": [rejection.attribution],
        "UntrustedRootHint": [_yes(rejection.untrusted_root_hint)],
        "TlsProtocol": re.findall(r"SP_PROT_\w+", rejection.tls),
    }
    # A log that begins in the middle of a session does not show whether TLS was started before.
    if rejection.kind in SHOWS_COMMANDS and rejection.helo and (rejection.from_start or rejection.starttls):
        found["StartTls"] = [_yes(rejection.starttls or bool(rejection.tls))]
    if rejection.kind in SHOWS_CERTIFICATES and rejection.tls:
        found["CertificateSent"] = [_yes(rejection.sent is not None)]
    if sent is not None:
        _add_certificate(found, sent, rejection)
    _add_history(found, rejection, background)
    if background.settings:
        found.update(_configuration(rejection, sent, background))
    return _fields(found)


def _configuration(rejection: Rejection, sent: Certificate | None, background: Background) -> dict[str, list[str]]:
    """The exported objects against what the session showed; the same for all refusals that showed the same."""
    domain = rejection.mail_from.rpartition("@")[2]
    key = (sent, rejection.connector, domain, rejection.seen_address)
    if key not in background.configured:
        found: dict[str, list[str]] = {}
        _add_inbound(found, rejection, sent, background)
        _add_send(found, rejection, sent, background)
        _add_domains(found, rejection, sent, background)
        background.configured[key] = found
    return background.configured[key]


def _completed(sent: Certificate | None, background: Background) -> Certificate | None:
    """The certificate as the log shows it, with names and dates from event 90 or a file where the log has none."""
    if sent is None or not sent.thumbprint:
        return sent
    known = background.certificates.get(sent.thumbprint)
    if known is None:
        return sent
    return Certificate(
        thumbprint=sent.thumbprint,
        subject=sent.subject or known.subject,
        issuer=sent.issuer or known.issuer,
        serial=sent.serial or known.serial,
        not_before=sent.not_before or known.not_before,
        not_after=sent.not_after or known.not_after,
        alternate_names=sent.alternate_names or known.alternate_names,
        subject_key_id=known.subject_key_id,
        authority_key_id=known.authority_key_id,
        issuer_urls=known.issuer_urls,
    )


# ------------------------------------------------------------------------------------------------ certificate, history


def _add_certificate(found: dict[str, list[str]], sent: Certificate, rejection: Rejection) -> None:
    found["SentThumbprint"] = [sent.thumbprint]
    found["SentSubject"] = [sent.subject]
    found["SentIssuer"] = [sent.issuer]
    found["SentName"] = list(_sorted_names(sent.subject, sent.alternate_names))
    if sent.subject and sent.issuer:
        found["SentSelfSigned"] = [_yes(same_name(sent.subject, sent.issuer))]
    if sent.not_after and sent.not_before:
        # What counts is the moment of the handshake: a session may go on for hours.
        moment = rejection.handshake_time or rejection.time
        found["SentExpired"] = [_yes(sent.not_after < moment)]
        found["SentNotYetValid"] = [_yes(sent.not_before > moment)]


def _add_history(found: dict[str, list[str]], rejection: Rejection, background: Background) -> None:
    """What the same connector did before: with this certificate, and with the one before it."""
    own = rejection.sent.thumbprint if rejection.sent else ""
    if own:
        past = _past(rejection, own, background)
        before = past.accepted is not None and past.accepted < rejection.time
        found["AcceptedBeforeWithThisCertificate"] = [_yes(before)]
        last = past.previous if past.refused else _previous(rejection, own, rejection.time, background)
        # A certificate that still succeeds after the refusals has not been replaced: both are in use.
        if last is not None and not before:
            found["PreviousThumbprint"] = [last.thumbprint]
    failures = background.failures.get(_sender(rejection), [])
    # The failures of the ten minutes up to the refusal.
    low = bisect_left(failures, rejection.time - _RECENT, key=_first)
    shortly_before = failures[low : bisect_right(failures, rejection.time, key=_first)]
    if shortly_before:
        found["TlsFailedBefore"] = ["true"]
        found["TlsFailure"] = sorted({error for _, error in shortly_before})


def _sender(item: Delivery | Rejection) -> tuple[str, ...]:
    return item.connector, item.kind, item.host


def _first(row: tuple[datetime, object]) -> datetime:
    return row[0]


def _past(rejection: Rejection, own: str, background: Background) -> _Past:
    key = (*_sender(rejection), own)
    if key not in background.pasts:
        same = background.history.get(key, ())
        refused = min((item.first_refused for item in same if item.first_refused), default=None)
        background.pasts[key] = _Past(
            accepted=min((item.first_accepted for item in same if item.first_accepted), default=None),
            refused=refused,
            previous=_previous(rejection, own, refused, background) if refused else None,
        )
    return background.pasts[key]


def _previous(rejection: Rejection, own: str, refused: datetime, background: Background) -> Delivery | None:
    """The other certificate with which mail was accepted last before this one was refused; the first of equals."""
    rows = background.accepted.get(_sender(rejection), [])
    found: Delivery | None = None
    for at in range(bisect_left(rows, refused, key=_first) - 1, -1, -1):
        time, item = rows[at]
        if found is not None and time != found.last_accepted:
            break
        if item.thumbprint != own:
            found = item
    return found


# ------------------------------------------------------------------------------------------------------ configuration


def _add_inbound(
    found: dict[str, list[str]], rejection: Rejection, sent: Certificate | None, background: Background
) -> None:
    """Inbound connectors of the tenant against what the session showed."""
    connectors = background.objects(INBOUND_CONNECTOR)
    if not connectors:
        return
    working = [item for item in connectors if _is(item, "ConnectorType", "OnPremises") and _enabled(item)]
    found["InboundConnector.Working"] = [_yes(bool(working))]
    found["InboundConnector.Name"] = [item.get("Name", "") for item in working]
    found["InboundConnector.Partner"] = [_yes(any(_is(item, "ConnectorType", "Partner") for item in connectors))]
    disabled = [item for item in connectors if _is(item, "ConnectorType", "OnPremises") and not _enabled(item)]
    found["InboundConnector.Disabled"] = [_yes(bool(disabled))]
    names = [name for item in working if (name := _connector_name(item))]
    found["InboundConnector.CertificateName"] = names
    scopes = [address for item in working for address in _listed(item.get("SenderIPAddresses", ""))]
    found["InboundConnector.Address"] = scopes
    found["InboundConnector.ByCertificate"] = [_yes(bool(names))]
    found["InboundConnector.ByAddress"] = [_yes(bool(scopes))]
    if names and sent is not None and certificate_names(sent):
        found["InboundConnector.MatchingName"] = [
            item.get("Name", "")
            for item in working
            if any(covers(_connector_name(item), own) for own in certificate_names(sent))
        ]
        matching = any(covers(name, own) for name in names for own in certificate_names(sent))
        found["InboundConnector.CertificateMatches"] = [_yes(matching)]
    seen = rejection.seen_address
    if scopes and seen:
        found["SeenAddress"] = [seen]
        found["InboundConnector.AddressMatches"] = [_yes(any(_inside(seen, scope) for scope in scopes))]
    _add_restrictions(found, rejection, working)


def _add_restrictions(found: dict[str, list[str]], rejection: Rejection, working: Sequence[Mapping[str, str]]) -> None:
    """Whether every working connector is limited to sender domains, and to others than the refused one."""
    domain = rejection.mail_from.rpartition("@")[2].casefold()
    limits = [_sender_domains(item) for item in working]
    if not domain or not limits or not all(limits):
        return
    allowed = any(covers(name, domain) or name == domain for names in limits for name in names)
    found["InboundConnector.SenderDomainMatches"] = [_yes(allowed)]


def _sender_domains(item: Mapping[str, str]) -> list[str]:
    """Domains that a connector is limited to; empty where it takes all."""
    listed = _listed(item.get("SenderDomains", ""))
    domains = [re.sub(r"^smtp:|;\d+$", "", name, flags=re.IGNORECASE).casefold() for name in listed]
    return [] if "*" in domains else domains


def _connector_name(item: Mapping[str, str]) -> str:
    name = item.get("TlsSenderCertificateName", "").strip()
    parts = issuer_and_subject(name)
    return _common_name(parts[1]) if parts else name


def _add_send(
    found: dict[str, list[str]], rejection: Rejection, sent: Certificate | None, background: Background
) -> None:
    """The Send connector's own setting and the certificates bound to SMTP, against the certificate that was sent."""
    own = [item for item in background.objects(SEND_CONNECTOR) if _same_text(item.get("Name", ""), rejection.connector)]
    verdicts: set[bool] = set()
    for item in own:
        wanted = issuer_and_subject(item.get("TlsCertificateName", ""))
        found["SendConnector.CertificateSet"] = [_yes(bool(item.get("TlsCertificateName", "").strip()))]
        if wanted and sent is not None and sent.subject and sent.issuer:
            matches = same_name(wanted[0], sent.issuer) and same_name(wanted[1], sent.subject)
            verdicts.add(matches)
            found["SendConnector.Subject"] = [f"{wanted[1]} (issued by {wanted[0]})"]
    # Two exports of one connector, from before and after a change, tell nothing together.
    if len(verdicts) == 1:
        found["SendConnector.CertificateMatches"] = [_yes(verdicts.pop())]
    # A certificate that the export does not list at all is another server's, or the export is older than it.
    listed = [
        item
        for item in background.objects(EXCHANGE_CERTIFICATE)
        if sent is not None and _same_text(item.get("Thumbprint", ""), sent.thumbprint)
    ]
    if listed:
        bound = any("smtp" in item.get("Services", "").casefold() for item in listed)
        found["ExchangeCertificate.BoundToSmtp"] = [_yes(bound)]


def _add_domains(
    found: dict[str, list[str]], rejection: Rejection, sent: Certificate | None, background: Background
) -> None:
    """Whether sender and certificate belong to accepted domains of the tenant; a null sender tells nothing."""
    domains = [(item.get("DomainName", "").casefold(), item) for item in background.objects(ACCEPTED_DOMAIN)]
    accepted = [(name, _same_text(item.get("MatchSubDomains", ""), "True")) for name, item in domains if name]
    if not accepted:
        return
    sender = rejection.mail_from.rpartition("@")[2].casefold()
    if sender:
        found["AcceptedDomain.Sender"] = [_yes(any(_accepts(*domain, sender) for domain in accepted))]
    if sent is not None and certificate_names(sent):
        # A certificate's name counts with the domain above it.
        own = [name.removeprefix("*.") for name in certificate_names(sent)]
        found["AcceptedDomain.Certificate"] = [
            _yes(any(_accepts(domain, True, name) for domain, _ in accepted for name in own))
        ]


def _accepts(domain: str, subdomains: bool, name: str) -> bool:
    """Whether an accepted domain holds a name: its own, and those below it where the tenant says so."""
    plain = domain.removeprefix("*.")
    return name == plain or ((subdomains or domain.startswith("*.")) and name.endswith("." + plain))


# -------------------------------------------------------------------------------------------------------------- names


def certificate_names(certificate: Certificate) -> set[str]:
    """DNS names of a certificate, folded: the common name of the subject and the alternate names."""
    return set(_sorted_names(certificate.subject, certificate.alternate_names))


# Few certificates are sent again and again.
@lru_cache(maxsize=1024)
def _sorted_names(subject: str, alternate: tuple[str, ...]) -> tuple[str, ...]:
    names = {_common_name(subject), *alternate}
    return tuple(sorted({name.casefold() for name in names if "." in name and " " not in name}))


def covers(pattern: str, name: str) -> bool:
    """Whether two certificate names match: equal, or one is a wildcard for exactly one label of the other."""
    left, right = pattern.strip().casefold(), name.strip().casefold()
    return left == right or _wildcard(left, right) or _wildcard(right, left)


def _wildcard(pattern: str, name: str) -> bool:
    return pattern.startswith("*.") and not name.startswith("*.") and name.partition(".")[2] == pattern[2:]


@lru_cache(maxsize=1024)
def same_name(left: str, right: str) -> bool:
    """Whether two distinguished names are the same, whatever the blanks after commas and the case."""
    return _name_parts(left) == _name_parts(right)


def _name_parts(text: str) -> tuple[tuple[str, str], ...]:
    """Attributes of a distinguished name, folded; ``ST`` is RFC 4514's word for what Windows writes as ``S``."""
    parts = [part.partition("=") for part in re.split(r",\s*(?=[A-Za-z.0-9]+=)", text.strip().casefold())]
    return tuple(({"st": "s"}.get(key.strip(), key.strip()), value.strip().strip('"')) for key, _, value in parts)


def issuer_and_subject(name: str) -> tuple[str, str] | None:
    """Issuer and subject of ``<I>CN=...<S>CN=...``, as connectors name certificates; None where it is no such name."""
    found = re.fullmatch(r"\s*<I>(.*)<S>(.*)", name, re.DOTALL)
    return (found[1].strip(), found[2].strip()) if found else None


def _common_name(subject: str) -> str:
    found = re.search(r"(?:^|,\s*)CN=\"?([^,\"]+)", subject, re.IGNORECASE)
    return found[1].strip() if found else subject.strip()


def _is_exchange_online(name: str) -> bool:
    """Names of Exchange Online's own front ends and certificates."""
    folded = name.casefold()
    return folded.endswith((".outlook.com", ".office365.com", ".protection.outlook.de")) or folded == "outlook.com"


def _inside(address: str, scope: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(scope, strict=False)
    except ValueError:
        return False


def _listed(value: str) -> list[str]:
    return [part for part in re.split(r"[,;\s]+(?!\d+$)", value.strip().strip("{}")) if part]


def _is(item: Mapping[str, str], name: str, value: str) -> bool:
    return _same_text(item.get(name, ""), value)


def _enabled(item: Mapping[str, str]) -> bool:
    """A connector without the property is taken as enabled: not every export holds it."""
    return not _same_text(item.get("Enabled", "True"), "False")


def _same_text(left: str, right: str) -> bool:
    return left.strip().casefold() == right.strip().casefold()


def _yes(value: bool) -> str:
    return "true" if value else "false"


def _fields(found: Mapping[str, Iterable[str]]) -> Fields:
    return {name: kept for name, values in found.items() if (kept := tuple([value for value in values if value]))}
