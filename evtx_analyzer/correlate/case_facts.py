"""What surrounds all refusals of a case: configuration, certificates, deliveries, checks and other events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cached_property

from msgspec import Struct

from evtx_analyzer.correlate.handshake_links import PROOF, is_conclusive, wire_certificates
from evtx_analyzer.exchange_online import parse_address
from evtx_analyzer.model.alike import Alike
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import CertificateFile, Event, Setting
from evtx_analyzer.model.evidence import ClockSkew, Context, Delivery, Operation, OtherError, Rejection
from evtx_analyzer.model.handshake import Handshake
from evtx_analyzer.model.origin import Fields, Origin, sort_key
from evtx_analyzer.model.stores import StoreEntry
from evtx_analyzer.normalize.supporting import SCHANNEL
from evtx_analyzer.smtp.clock_skew import NOTABLE_SKEW
from evtx_analyzer.smtp.deliveries import AcceptedMail, TlsFailures


class CaseFacts(Struct, frozen=True, kw_only=True, dict=True):
    """What surrounds the refusals of a case; ``certificates`` are by thumbprint, from every input that shows any.

    Thousands of refusals need the same tables, so each is made once (``dict=True`` lets the struct keep it).
    """

    settings: tuple[Setting, ...] = ()
    certificates: Mapping[str, Certificate] = {}
    deliveries: tuple[Delivery, ...] = ()
    accepted_mail: tuple[AcceptedMail, ...] = ()
    refused_from: Mapping[tuple[str, str, str, str], frozenset[str]] = {}
    """Local addresses of refused sessions by host, connector, kind of log and thumbprint."""
    tls_failures: tuple[TlsFailures, ...] = ()
    operations: tuple[Operation, ...] = ()
    context: tuple[Context, ...] = ()
    other_errors: tuple[OtherError, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    alike: tuple[Alike, ...] = ()
    handshakes: tuple[Handshake, ...] = ()
    clocks: tuple[ClockSkew, ...] = ()

    @cached_property
    def ahead(self) -> Mapping[tuple[str, str], timedelta]:
        """Return by how much clocks were ahead of Exchange Online's, by kind of log and folder, where that matters."""
        return {
            (skew.kind, skew.folder): timedelta(seconds=skew.seconds)
            for skew in self.clocks
            if abs(skew.seconds) > NOTABLE_SKEW
        }

    def places(self) -> dict[str, Origin]:
        """Return where the first exported object of each cmdlet stands."""
        places: dict[str, Origin] = {}
        for setting in sorted(self.settings, key=lambda setting: sort_key(setting.origin)):
            places.setdefault(setting.cmdlet, setting.origin)
        return places

    @cached_property
    def change_times(self) -> list[datetime]:
        """Return when exported objects were created or changed, in order."""
        return sorted({time for setting in self.settings for time in (setting.created, setting.changed) if time})

    @cached_property
    def objects(self) -> Mapping[str, list[Setting]]:
        """Return the exported objects by cmdlet."""
        objects: dict[str, list[Setting]] = {}
        for setting in self.settings:
            objects.setdefault(setting.cmdlet, []).append(setting)
        return objects

    @cached_property
    def outside(self) -> Mapping[tuple[str, str], list[AcceptedMail]]:
        """Return the mail that Exchange Online took for recipients outside of the own tenant, by host and log kind."""
        outside: dict[tuple[str, str], list[AcceptedMail]] = {}
        for mail in self.accepted_mail:
            if mail.state.scope == "outside":
                outside.setdefault((mail.state.host, mail.state.kind), []).append(mail)
        return outside

    @cached_property
    def refused(self) -> Mapping[tuple[str, ...], tuple[datetime, datetime]]:
        """Return the first and last refusal by connector, log kind, host and thumbprint."""
        spans: dict[tuple[str, ...], tuple[datetime, datetime]] = {}
        for delivery in self.deliveries:
            if delivery.first_refused and delivery.last_refused:
                key = (*sender_key(delivery), delivery.thumbprint)
                first, last = spans.get(key, (delivery.first_refused, delivery.last_refused))
                spans[key] = min(first, delivery.first_refused), max(last, delivery.last_refused)
        return spans

    @cached_property
    def failures(self) -> Mapping[tuple[str, ...], list[TlsFailures]]:
        """Return the failed TLS negotiations by connector, log kind and host."""
        failures: dict[tuple[str, ...], list[TlsFailures]] = {}
        for failure in self.tls_failures:
            failures.setdefault((failure.connector, failure.kind, failure.host), []).append(failure)
        return failures

    @cached_property
    def checks(self) -> Mapping[tuple[str, str], list[Operation]]:
        """Return the checks under a policy whose result is known, in order of time, by host and thumbprint."""
        checks: dict[tuple[str, str], list[Operation]] = {}
        for operation in self.operations:
            if operation.policy and operation.thumbprint and operation.result:
                checks.setdefault((operation.host, operation.thumbprint), []).append(operation)
        return checks

    @cached_property
    def checked_until(self) -> Mapping[str, datetime]:
        """Return, by machine, the time of the last check: a success up to then would have been seen."""
        until: dict[str, datetime] = {}
        for operation in self.operations:
            until[operation.host] = max(until.get(operation.host, operation.time), operation.time)
        return until

    @cached_property
    def schannel(self) -> Mapping[str, list[Context]]:
        """Return the Schannel events by the machine that wrote them."""
        by_host: dict[str, list[Context]] = {}
        for context in self.context:
            if context.kind == SCHANNEL and context.host:
                by_host.setdefault(context.host, []).append(context)
        return by_host

    @cached_property
    def hosts_called_untrusted(self) -> frozenset[str]:
        """Return the machines whose chain Exchange Online could not verify, as its 450 4.4.317 UntrustedRoot says."""
        tls_errors = (error for error in self.other_errors if "4.4.317" in error.code)
        return frozenset(error.host for error in tls_errors if "untrustedroot" in error.text.casefold())

    @cached_property
    def senders(self) -> Mapping[tuple[str, str, str], frozenset[str | None]]:
        """Return domains of refused senders by host, log kind and thumbprint; "" is no sender, None is not known."""
        senders: dict[tuple[str, str, str], set[str | None]] = {}
        # Refusals that are alike have the same sender domain.
        for rejection in (*self.rejections, *(next(group.rejections()) for group in self.alike)):
            senders.setdefault((rejection.host, rejection.kind, sent_thumbprint(rejection)), set()).add(
                sender_domain_of(rejection)
            )
        return {key: frozenset(domains) for key, domains in senders.items()}

    @cached_property
    def wire(self) -> Mapping[str, list[Handshake]]:
        """Return the handshakes of refused connections themselves that show what the client sent, by refusal."""
        by_refusal: dict[str, list[Handshake]] = {}
        for handshake in self.handshakes:
            if (
                handshake.rejection
                and handshake.join in PROOF
                and is_conclusive(handshake)
                and handshake.requested is not None
            ):
                by_refusal.setdefault(handshake.rejection, []).append(handshake)
        return by_refusal

    @cached_property
    def failed_handshakes(self) -> Mapping[tuple[object, object], list[Handshake]]:
        """Return the handshakes that ended with a fatal alert, by the addresses of both sides."""
        by_addresses: dict[tuple[object, object], list[Handshake]] = {}
        for handshake in self.handshakes:
            if handshake.alert:
                ends = parse_address(handshake.local), parse_address(handshake.remote)
                by_addresses.setdefault(ends, []).append(handshake)
        return by_addresses

    @cached_property
    def answers(self) -> dict[object, Fields]:
        """Return the facts made so far, by all that they depend on; refusals in the same state share them."""
        return {}


def case_facts(
    exported: Iterable[Event],
    operations: Iterable[Operation],
    deliveries: tuple[Delivery, ...],
    *,
    accepted_mail: tuple[AcceptedMail, ...] = (),
    refused_from: Mapping[tuple[str, str, str, str], frozenset[str]] | None = None,
    tls_failures: tuple[TlsFailures, ...] = (),
    shown: Mapping[str, Certificate] | None = None,
    context: Iterable[Context] = (),
    other_errors: Iterable[OtherError] = (),
    rejections: Iterable[Rejection] = (),
    alike: Iterable[Alike] = (),
    handshakes: Iterable[Handshake] = (),
    clocks: Iterable[ClockSkew] = (),
) -> CaseFacts:
    """Return the facts of a case from exported objects, certificate files, CAPI2, deliveries and other events.

    ``shown`` are the certificates of Send logs by thumbprint. A file or a handshake shows more of a certificate than
    event 90, and that more than a Send log: of each certificate the fullest one is kept.
    """
    exports, checked, on_wire = list(exported), tuple(operations), tuple(handshakes)
    events = [operation.certificate for operation in checked if operation.certificate]
    files = [event.certificate for event in exports if isinstance(event, CertificateFile)]
    stored = [event for event in exports if isinstance(event, StoreEntry) and event.certificate is not None]
    # A list that certutil prints shows less than an event does; the bytes of a certificate show all.
    listed = [entry.certificate for entry in stored if entry.certificate and not entry.encoded]
    files += [entry.certificate for entry in stored if entry.certificate and entry.encoded]
    return CaseFacts(
        settings=tuple(event for event in exports if isinstance(event, Setting)),
        certificates={
            certificate.thumbprint: certificate
            for certificate in (*listed, *(shown or {}).values(), *events, *wire_certificates(on_wire), *files)
            if certificate.thumbprint and certificate.subject
        },
        deliveries=deliveries,
        accepted_mail=accepted_mail,
        refused_from=refused_from or {},
        tls_failures=tls_failures,
        operations=checked,
        context=tuple(context),
        other_errors=tuple(other_errors),
        rejections=tuple(rejections),
        alike=tuple(alike),
        handshakes=on_wire,
        clocks=tuple(clocks),
    )


def completed(sent: Certificate | None, background: CaseFacts) -> Certificate | None:
    """Return the certificate as the log shows it, completed with what only other inputs show of it."""
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


def sender_key(sent: Delivery | Rejection) -> tuple[str, ...]:
    """Return who sent: connector, kind of log, host."""
    return sent.connector, sent.kind, sent.host


def sent_thumbprint(rejection: Rejection) -> str:
    """Return the SHA-1 thumbprint of the certificate that was sent; empty where the log shows none."""
    return rejection.sent.thumbprint if rejection.sent else ""


def sender_domain_of(rejection: Rejection) -> str | None:
    """Return the sender's domain; empty for MAIL FROM:<>, None where the log does not show MAIL FROM."""
    return None if rejection.null_sender is None else rejection.mail_from.rpartition("@")[2].casefold()
