"""What surrounds all refusals of a case: configuration, certificates, deliveries, checks and other events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from operator import attrgetter
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.clock import is_known
from evtx_analyzer.correlate.handshake_links import PROOF, is_conclusive, wire_certificates
from evtx_analyzer.correlate.settings import SeenLater
from evtx_analyzer.exchange_online import parse_address
from evtx_analyzer.hosts import folder_of
from evtx_analyzer.model.alike import Alike
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import CertificateFile, Event, Setting
from evtx_analyzer.model.evidence import ClockSkew, Context, Delivery, Operation, OtherError, Rejection
from evtx_analyzer.model.handshake import Handshake
from evtx_analyzer.model.origin import Fields, Origin, display_name, sort_key
from evtx_analyzer.model.stores import StoreEntry
from evtx_analyzer.normalize.supporting import SCHANNEL
from evtx_analyzer.smtp.clock_skew import NOTABLE_SKEW
from evtx_analyzer.smtp.deliveries import AcceptedMail, TlsFailures

# Exchange Online documents no time after which a changed connector is in force everywhere; an hour is on the safe side.
_IN_FORCE = timedelta(hours=1)
Row = TypeVar("Row")
Key = TypeVar("Key")


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
    machines: Mapping[str, frozenset[str]] = {}
    """For each local address in logs that name no machine those that are of the same machine."""
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

    def ahead_in(self, kind: str, file: Origin) -> timedelta:
        """Return by how much the clock of a log file was ahead of Exchange Online's, as far as the log shows it."""
        return self.ahead.get((kind, folder_of(display_name(file))), timedelta()) if self.ahead else timedelta()

    @cached_property
    def change_times(self) -> list[datetime]:
        """Return when exported objects were created or changed, in order."""
        return sorted({time for setting in self.settings for time in (setting.created, setting.changed) if time})

    @cached_property
    def objects(self) -> Mapping[str, list[Setting]]:
        """Return the exported objects by cmdlet."""
        return grouped(self.settings, attrgetter("cmdlet"))

    def places(self) -> dict[str, Origin]:
        """Return where the first exported object of each cmdlet stands."""
        return {name: min((setting.origin for setting in of), key=sort_key) for name, of in self.objects.items()}

    @cached_property
    def outside(self) -> Mapping[tuple[str, str], list[AcceptedMail]]:
        """Return the mail that Exchange Online took for recipients outside of the own tenant, by host and log kind."""
        outside = (mail for mail in self.accepted_mail if mail.state.scope == "outside")
        return grouped(outside, lambda mail: (mail.state.host, mail.state.kind))

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

    def refused_span(self, rejection: Rejection) -> tuple[datetime, datetime]:
        """Return the first and last refusal with the same connector and certificate.

        A refusal that the history does not hold is compared by its own time.
        """
        key = (*sender_key(rejection), sent_thumbprint(rejection))
        return self.refused.get(key, (rejection.time, rejection.time))

    @cached_property
    def outages(self) -> Mapping[tuple[str, ...], tuple[datetime, datetime]]:
        """Return the spans of ``refused`` in which no mail of the same state was accepted for outside recipients."""
        return {key: span for key, span in self.refused.items() if not self._accepted_in(key, span)}

    def _accepted_in(self, key: tuple[str, ...], span: tuple[datetime, datetime]) -> bool:
        connector, kind, host, thumbprint = key
        return any(
            mail.state.connector == connector and mail.state.thumbprint == thumbprint and mail.times.between(*span)
            for mail in self.outside.get((host, kind), ())
        )

    def changed_from(self, rejection: Rejection) -> datetime | None:
        """Return from when on a change of configuration is later than what refused a mail; None where nothing tells.

        While mail is refused, a change that did not end it for an hour shows the state that refuses it. One that was
        made later may not have been in force yet when the last mail was refused.
        """
        if not is_known(rejection.time_basis):
            return None
        first, last = self.outages.get((*sender_key(rejection), sent_thumbprint(rejection)), (rejection.time,) * 2)
        outside = not first <= rejection.time <= last
        return rejection.time if outside else max(first, last - _IN_FORCE)

    @cached_property
    def failures(self) -> Mapping[tuple[str, ...], list[TlsFailures]]:
        """Return the failed TLS negotiations by connector, log kind and host."""
        return grouped(self.tls_failures, sender_key)

    @cached_property
    def checks(self) -> Mapping[tuple[str, str], list[Operation]]:
        """Return the checks under a policy whose result is known, in order of time, by host and thumbprint."""
        known = (check for check in self.operations if check.policy and check.thumbprint and check.result)
        return grouped(known, lambda check: (check.host, check.thumbprint))

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
        events = (event for event in self.context if event.kind == SCHANNEL and event.host)
        return grouped(events, attrgetter("host"))

    @cached_property
    def hosts_called_untrusted(self) -> frozenset[str]:
        """Return the machines whose chain Exchange Online could not verify, as its 450 4.4.317 UntrustedRoot says."""
        tls_errors = (error for error in self.other_errors if "4.4.317" in error.code)
        return frozenset(error.host for error in tls_errors if "untrustedroot" in error.text.casefold())

    @cached_property
    def senders(self) -> Mapping[tuple[str, str, str], frozenset[str | None]]:
        """Return domains of refused senders by host, log kind and thumbprint; "" is no sender, None is not known."""
        # Refusals that are alike have the same sender domain.
        refused = (*self.rejections, *(next(group.rejections()) for group in self.alike))
        by_sender = grouped(refused, lambda rejection: (rejection.host, rejection.kind, sent_thumbprint(rejection)))
        return {key: frozenset(map(sender_domain_of, same)) for key, same in by_sender.items()}

    @cached_property
    def wire(self) -> Mapping[str, list[Handshake]]:
        """Return the handshakes of refused connections themselves that show what the client sent, by refusal."""
        own = (shown for shown in self.handshakes if shown.rejection and shown.join in PROOF and is_conclusive(shown))
        return grouped((shown for shown in own if shown.requested is not None), attrgetter("rejection"))

    @cached_property
    def failed_handshakes(self) -> Mapping[tuple[object, object], list[Handshake]]:
        """Return the handshakes that ended with a fatal alert, by the addresses of both sides."""
        failed = (shown for shown in self.handshakes if shown.alert)
        return grouped(failed, lambda shown: (parse_address(shown.local), parse_address(shown.remote)))

    @cached_property
    def answers(self) -> dict[object, Fields]:
        """Return the facts made so far, by all that they depend on; refusals in the same state share them."""
        return {}

    @cached_property
    def later(self) -> dict[object, SeenLater]:
        """Return what was found so far of the time after refusals, by all that it depends on."""
        return {}

    def completed(self, sent: Certificate | None) -> Certificate | None:
        """Return the certificate as the log shows it, completed with what only other inputs show of it."""
        known = self.certificates.get(sent.thumbprint) if sent is not None and sent.thumbprint else None
        if sent is None or known is None:
            return sent
        names = ("subject", "issuer", "serial", "not_before", "not_after", "alternate_names")
        return replace(known, **{name: value for name in names if (value := getattr(sent, name))})


def known_certificates(
    exported: Iterable[Event],
    shown: Mapping[str, Certificate],
    operations: Iterable[Operation],
    handshakes: Iterable[Handshake],
) -> Mapping[str, Certificate]:
    """Return the certificates of a case by thumbprint; ``shown`` are those of Send logs.

    A file or a handshake shows more of a certificate than event 90, and that more than a Send log: of each certificate
    the fullest one is kept.
    """
    exports = list(exported)
    events = [operation.certificate for operation in operations if operation.certificate]
    files = [event.certificate for event in exports if isinstance(event, CertificateFile)]
    stored = [event for event in exports if isinstance(event, StoreEntry)]
    # A list that certutil prints shows less than an event does; the bytes of a certificate show all.
    listed = [entry.certificate for entry in stored if entry.certificate and not entry.encoded]
    files += [entry.certificate for entry in stored if entry.certificate and entry.encoded]
    return {
        certificate.thumbprint: certificate
        for certificate in (*listed, *shown.values(), *events, *wire_certificates(handshakes), *files)
        if certificate.thumbprint and certificate.subject
    }


def grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    """Return rows by key, in their order."""
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def sender_key(sent: Delivery | Rejection | TlsFailures) -> tuple[str, ...]:
    """Return who sent: connector, kind of log, host."""
    return sent.connector, sent.kind, sent.host


def sent_thumbprint(rejection: Rejection) -> str:
    """Return the SHA-1 thumbprint of the certificate that was sent; empty where the log shows none."""
    return rejection.sent.thumbprint if rejection.sent else ""


def sender_domain_of(rejection: Rejection) -> str | None:
    """Return the sender's domain; empty for MAIL FROM:<>, None where the log does not show MAIL FROM."""
    return None if rejection.null_sender is None else rejection.mail_from.rpartition("@")[2].casefold()


def expired_at(certificate: Certificate | None, time: datetime) -> bool | None:
    """Return whether a certificate had expired at a time; None unless both of its dates are known."""
    dates = _dates(certificate)
    return None if dates is None else dates[1] < time


def not_yet_valid_at(certificate: Certificate | None, time: datetime) -> bool | None:
    """Return whether a certificate was not yet valid at a time; None unless both of its dates are known."""
    dates = _dates(certificate)
    return None if dates is None else dates[0] > time


def _dates(certificate: Certificate | None) -> tuple[datetime, datetime] | None:
    before, after = (certificate.not_before, certificate.not_after) if certificate else (None, None)
    return (before, after) if before and after else None
