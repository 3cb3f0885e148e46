"""What surrounds all refusals of a case: configuration, certificates, deliveries, checks and other events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cached_property

from msgspec import Struct

from evtx_analyzer.correlate.handshake_links import PROOF, is_conclusive, wire_certificates
from evtx_analyzer.exchange_online import parse_address
from evtx_analyzer.model.alike import Alike
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import CertificateFile, Event, Setting
from evtx_analyzer.model.evidence import Context, Delivery, Operation, OtherError, Rejection
from evtx_analyzer.model.handshake import Handshake
from evtx_analyzer.model.origin import Fields, Origin, sort_key
from evtx_analyzer.model.stores import StoreEntry
from evtx_analyzer.normalize.supporting import SCHANNEL
from evtx_analyzer.smtp.deliveries import AcceptedMail, TlsFailures


class CaseFacts(Struct, frozen=True, kw_only=True, dict=True):
    """What surrounds the refusals of a case; ``certificates`` by thumbprint, from event 90, files and Send logs.

    Thousands of refusals ask the same, so each answer is made once (``dict=True`` lets the struct keep it).
    """

    settings: tuple[Setting, ...] = ()
    certificates: Mapping[str, Certificate] = {}
    deliveries: tuple[Delivery, ...] = ()
    accepted_mail: tuple[AcceptedMail, ...] = ()
    tls_failures: tuple[TlsFailures, ...] = ()
    operations: tuple[Operation, ...] = ()
    context: tuple[Context, ...] = ()
    other_errors: tuple[OtherError, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    alike: tuple[Alike, ...] = ()
    handshakes: tuple[Handshake, ...] = ()

    def places(self) -> dict[str, Origin]:
        """Return where the first exported object of each cmdlet stands."""
        found: dict[str, Origin] = {}
        for setting in sorted(self.settings, key=lambda item: sort_key(item.origin)):
            found.setdefault(setting.cmdlet, setting.origin)
        return found

    @cached_property
    def objects(self) -> Mapping[str, list[Setting]]:
        """Return the exported objects by cmdlet."""
        found: dict[str, list[Setting]] = {}
        for setting in self.settings:
            found.setdefault(setting.cmdlet, []).append(setting)
        return found

    @cached_property
    def outside(self) -> Mapping[tuple[str, str], list[AcceptedMail]]:
        """Return the mail that Exchange Online took for recipients outside of the own tenant, by host and log kind."""
        found: dict[tuple[str, str], list[AcceptedMail]] = {}
        for mail in self.accepted_mail:
            if mail.state.scope == "outside":
                found.setdefault((mail.state.host, mail.state.kind), []).append(mail)
        return found

    @cached_property
    def refused(self) -> Mapping[tuple[str, ...], tuple[datetime, datetime]]:
        """Return the first and last refusal by connector, log kind, host and thumbprint."""
        found: dict[tuple[str, ...], tuple[datetime, datetime]] = {}
        for delivery in self.deliveries:
            if delivery.first_refused and delivery.last_refused:
                key = (*sender_key(delivery), delivery.thumbprint)
                first, last = found.get(key, (delivery.first_refused, delivery.last_refused))
                found[key] = min(first, delivery.first_refused), max(last, delivery.last_refused)
        return found

    @cached_property
    def failures(self) -> Mapping[tuple[str, ...], list[TlsFailures]]:
        """Return the failed TLS negotiations by connector, log kind and host."""
        found: dict[tuple[str, ...], list[TlsFailures]] = {}
        for tls_failure in self.tls_failures:
            found.setdefault((tls_failure.connector, tls_failure.kind, tls_failure.host), []).append(tls_failure)
        return found

    @cached_property
    def checks(self) -> Mapping[tuple[str, str], list[Operation]]:
        """Return the checks of chains under a policy, in order of time, by host and thumbprint."""
        found: dict[tuple[str, str], list[Operation]] = {}
        for operation in self.operations:
            if operation.policy and operation.thumbprint:
                found.setdefault((operation.host, operation.thumbprint), []).append(operation)
        return found

    @cached_property
    def checked_until(self) -> Mapping[str, datetime]:
        """Return, by machine, the time of the last check: a success up to then would have been seen."""
        found: dict[str, datetime] = {}
        for operation in self.operations:
            found[operation.host] = max(found.get(operation.host, operation.time), operation.time)
        return found

    @cached_property
    def schannel(self) -> Mapping[str, list[Context]]:
        """Return the Schannel events by the machine that wrote them."""
        found: dict[str, list[Context]] = {}
        for context in self.context:
            if context.kind == SCHANNEL and context.host:
                found.setdefault(context.host, []).append(context)
        return found

    @cached_property
    def hosts_called_untrusted(self) -> frozenset[str]:
        """Return the machines whose chain Exchange Online could not verify, as its 450 4.4.317 UntrustedRoot says."""
        other_errors = (other_error for other_error in self.other_errors if "4.4.317" in other_error.code)
        return frozenset(item.host for item in other_errors if "untrustedroot" in item.text.casefold())

    @cached_property
    def senders(self) -> Mapping[tuple[str, str, str], frozenset[str | None]]:
        """Return domains of refused senders by host, log kind and thumbprint; "" is no sender, None is not known."""
        found: dict[tuple[str, str, str], set[str | None]] = {}
        # Those that are alike have a sender's domain in common.
        for rejection in (*self.rejections, *(next(group.rejections()) for group in self.alike)):
            found.setdefault((rejection.host, rejection.kind, sent_thumbprint(rejection)), set()).add(
                sender_domain_of(rejection)
            )
        return {key: frozenset(domains) for key, domains in found.items()}

    @cached_property
    def wire(self) -> Mapping[str, list[Handshake]]:
        """Handshakes that are those of refused connections and show what the client sent, by refusal."""
        found: dict[str, list[Handshake]] = {}
        for handshake in self.handshakes:
            if (
                handshake.rejection
                and handshake.join in PROOF
                and is_conclusive(handshake)
                and handshake.requested is not None
            ):
                found.setdefault(handshake.rejection, []).append(handshake)
        return found

    @cached_property
    def failed_handshakes(self) -> Mapping[tuple[object, object], list[Handshake]]:
        """Handshakes that ended with a fatal alert, by the addresses of both sides."""
        found: dict[tuple[object, object], list[Handshake]] = {}
        for handshake in self.handshakes:
            if handshake.alert:
                found.setdefault((parse_address(handshake.local), parse_address(handshake.remote)), []).append(
                    handshake
                )
        return found

    @cached_property
    def answers(self) -> dict[object, Fields]:
        """Return the facts that are made once for all refusals that ask the same, by what they ask."""
        return {}


def case_facts(
    exported: Iterable[Event],
    operations: Iterable[Operation],
    deliveries: tuple[Delivery, ...],
    *,
    accepted_mail: tuple[AcceptedMail, ...] = (),
    tls_failures: tuple[TlsFailures, ...] = (),
    shown: Mapping[str, Certificate] | None = None,
    context: Iterable[Context] = (),
    other_errors: Iterable[OtherError] = (),
    rejections: Iterable[Rejection] = (),
    alike: Iterable[Alike] = (),
    handshakes: Iterable[Handshake] = (),
) -> CaseFacts:
    """Return the facts of a case from exported objects, certificate files, CAPI2, deliveries and other events.

    A file or a handshake tells more of a certificate than event 90 does, and that more than a Send log, so the best
    wins.
    """
    things, checked, on_wire = list(exported), tuple(operations), tuple(handshakes)
    events = [operation.certificate for operation in checked if operation.certificate]
    files = [item.certificate for item in things if isinstance(item, CertificateFile)]
    stored = [item for item in things if isinstance(item, StoreEntry) and item.certificate is not None]
    # A list that certutil prints tells less than an event, the bytes of a certificate tell all.
    listed = [entry.certificate for entry in stored if entry.certificate and not entry.encoded]
    files += [entry.certificate for entry in stored if entry.certificate and entry.encoded]
    return CaseFacts(
        settings=tuple(item for item in things if isinstance(item, Setting)),
        certificates={
            certificate.thumbprint: certificate
            for certificate in (*listed, *(shown or {}).values(), *events, *wire_certificates(on_wire), *files)
            if certificate.thumbprint and certificate.subject
        },
        deliveries=deliveries,
        accepted_mail=accepted_mail,
        tls_failures=tls_failures,
        operations=checked,
        context=tuple(context),
        other_errors=tuple(other_errors),
        rejections=tuple(rejections),
        alike=tuple(alike),
        handshakes=on_wire,
    )


def completed(sent: Certificate | None, background: CaseFacts) -> Certificate | None:
    """Return the certificate as the log shows it, with what only event 90 or a certificate file knows of it."""
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


def sender_key(item: Delivery | Rejection) -> tuple[str, ...]:
    """Return who sent: connector, kind of log, host."""
    return item.connector, item.kind, item.host


def sent_thumbprint(rejection: Rejection) -> str:
    """Return the SHA-1 thumbprint of the certificate that was sent; empty where the log shows none."""
    return rejection.sent.thumbprint if rejection.sent else ""


def sender_domain_of(rejection: Rejection) -> str | None:
    """Return the sender's domain; empty for MAIL FROM:<>, None where the log does not show MAIL FROM."""
    return None if rejection.null_sender is None else rejection.mail_from.rpartition("@")[2].casefold()
