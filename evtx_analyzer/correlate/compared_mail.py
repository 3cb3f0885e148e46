"""A refusal compared with accepted mail: with the same certificate, address or sender, before, between and after.

Only mail that Exchange Online took for recipients outside of the own tenant is compared. An absent field is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cached_property

from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.clock import Moment
from evtx_analyzer.correlate.case_facts import sender_key, sent_thumbprint
from evtx_analyzer.correlate.connector_checks import configured_at, mended_at
from evtx_analyzer.correlate.fields import Field, facts
from evtx_analyzer.correlate.refused_session import RefusedSession
from evtx_analyzer.correlate.refused_with_certificate import refused_with_certificate
from evtx_analyzer.correlate.settings import NOTHING_SEEN_LATER, SeenLater
from evtx_analyzer.distinguished_names import same_name
from evtx_analyzer.exchange import INBOUND_CONNECTOR
from evtx_analyzer.exchange_online import is_private, parse_address
from evtx_analyzer.hosts import may_be_another
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.origin import Fields, TimeBasis
from evtx_analyzer.normalize.kinds import KINDS_WITH_CERTIFICATES
from evtx_analyzer.smtp.acceptances import MailState, Span, joined
from evtx_analyzer.smtp.deliveries import AcceptedMail

_MOST_SENDERS = 5


class _Compared(Struct, frozen=True, kw_only=True, dict=True):
    """A refused session and the accepted mail of its host and kind of log.

    ``failed`` is from when to when checks of its certificate failed, ``expiry`` when it expired (both UTC).
    """

    session: RefusedSession
    failed: tuple[datetime, datetime] | None
    expiry: datetime | None

    @cached_property
    def own(self) -> str:
        """Return the thumbprint of the certificate that was sent; empty where the log shows none."""
        return sent_thumbprint(self.session.rejection)

    @cached_property
    def seen_address(self) -> str:
        """Return the client address in the answer to EHLO."""
        return self.session.rejection.seen_address

    @cached_property
    def mail(self) -> Sequence[AcceptedMail]:
        """Return the accepted mail of the host."""
        return self.session.case.outside.get((self.session.rejection.host, self.session.rejection.kind), [])

    @cached_property
    def here(self) -> list[AcceptedMail]:
        """Return the accepted mail of the same connector."""
        return [row for row in self.mail if row.state.connector == self.session.rejection.connector]

    @cached_property
    def of_machine(self) -> list[AcceptedMail]:
        """Return the mail of the connector without that of local addresses which may be another machine's.

        What one machine sends now and another sent before is no change.
        """
        rejection = self.session.rejection
        key = (rejection.host, rejection.connector, rejection.kind, self.own)
        refused = self.session.case.refused_from.get(key, frozenset())
        return [
            accepted_mail
            for accepted_mail in self.here
            if not may_be_another(
                accepted_mail.state.local_address, refused, rejection.host_basis, self.session.case.machines
            )
        ]

    @cached_property
    def same(self) -> list[AcceptedMail]:
        """Return the mail of the connector with the same certificate, or without any like the refused mail."""
        return [row for row in self.here if _same_security(row.state, self.session, self.own)]

    @cached_property
    def alike(self) -> list[AcceptedMail]:
        """Return the mail of the connector that was sent in the same way, as far as the log shows it.

        A log without certificates (IIS) shows no other difference than whether TLS was used.
        """
        shows_none = self.session.rejection.kind not in KINDS_WITH_CERTIFICATES and self.session.start_tls is True
        return self.same or [row for row in self.here if shows_none and row.state.tls is True]

    @cached_property
    def refused_span(self) -> tuple[datetime, datetime]:
        """Return when mail of this connector with this certificate was refused first and last."""
        return self.session.case.refused_span(self.session.rejection)

    @cached_property
    def same_address(self) -> list[AcceptedMail]:
        """Return mail of the connector from the address that Exchange Online saw, without what a change let through."""
        same = [row for row in self.here if self.seen_address and row.state.seen_address == self.seen_address]
        return [row for row in same if row.times.between(None, self.mended)]

    @cached_property
    def mended(self) -> datetime | None:
        """Return since when, by the clock of the log, an inbound connector matches that was changed after the refusals.

        Mail that was accepted from then on shows nothing of the state in which mail was refused. None where none was.
        """
        session = self.session
        connectors = session.case.objects.get(INBOUND_CONNECTOR, ())
        since = session.case.changed_from(session.rejection)
        mended = mended_at(session.rejection, session.sent, connectors, since and since - session.ahead)
        return mended and mended + session.ahead

    @cached_property
    def configured(self) -> datetime | None:
        """Return since when, by the clock of the log, the inbound connectors are as they were at the first refusal.

        Mail that was accepted before that was accepted in another state of the tenant. None where nothing tells.
        """
        session, first = self.session, self.refused_span[0]
        connectors = session.case.objects.get(INBOUND_CONNECTOR, ())
        since = configured_at(session.rejection, connectors, first - session.ahead)
        return since and since + session.ahead

    @cached_property
    def of_sender(self) -> Span | None:
        """Return the mail of the same sender domain that some inbound connector relayed, as they are now.

        In whatever state it was sent: without a working connector no mail to outside recipients is accepted.
        """
        domain = self.session.sender_domain
        if domain is None:
            return None
        mail = [row for row in self.here if row.state.sender_domain == domain]
        # What was accepted in another state before the first refusal differs in time as well.
        alike, first = {id(row) for row in self.alike}, self.refused_span[0]
        return joined(row.times.between(self.configured if id(row) in alike else first, None) for row in mail)

    @cached_property
    def refused_senders(self) -> frozenset[str | None]:
        """Return the domains of the senders that are refused in the same state; "" is no sender, None is not known."""
        rejection = self.session.rejection
        return self.session.case.senders.get((rejection.host, rejection.kind, self.own), frozenset())

    @cached_property
    def senders(self) -> frozenset[str | None]:
        """Return the sender domains accepted in the same state while this one is refused.

        Empty where the refused senders are not all known, or one of their domains was accepted too.
        """
        accepted = frozenset(row.state.sender_domain for row in self.alike)
        if None in self.refused_senders or self.refused_senders & accepted:
            return frozenset()
        # What was accepted before the first refusal only differs in time as well.
        during = frozenset(
            row.state.sender_domain for row in self.alike if row.times.between(self.refused_span[0], None)
        )
        return during | accepted & {None} if during else during

    @cached_property
    def known_senders(self) -> list[str]:
        """Return the first of the accepted sender domains that are known, without the null sender."""
        return sorted({domain for domain in self.senders if domain})[:_MOST_SENDERS]

    @cached_property
    def before(self) -> Span | None:
        """Return how often the certificate was accepted before it was refused first."""
        rows = [row for row in self.of_machine if self.own and row.state.thumbprint == self.own]
        return joined(row.times.between(None, self.refused_span[0]) for row in rows)

    @cached_property
    def previous(self) -> tuple[str, list[AcceptedMail]] | None:
        """Return the certificate with which mail was accepted last before this one was refused, and all its mail."""
        first, last = self.refused_span
        others: dict[str, list[AcceptedMail]] = {}
        for row in self.of_machine:
            if row.state.thumbprint not in ("", self.own):
                others.setdefault(row.state.thumbprint, []).append(row)
        spans = {name: joined(row.times.between(None, first) for row in rows) for name, rows in others.items()}
        earlier = {name: span.last for name, span in spans.items() if span is not None}
        if not self.own or self.before is not None or not earlier:
            return None
        newest = max(earlier.values())
        thumbprint = min(name for name, time in earlier.items() if time == newest)
        # A certificate that is accepted between the refusals has not been replaced: both are in use.
        if first < last and any(row.times.between(first, last) for row in others[thumbprint]):
            return None
        return thumbprint, others[thumbprint]


def accepted_facts(session: RefusedSession) -> Fields:
    """Return the accepted mail compared with the refusal, computed once for all refusals in the same state."""
    if not session.shows_commands:
        return {}
    rejection, answers = session.rejection, session.case.answers
    own = sent_thumbprint(rejection)
    failed, expiry = session.failed_check, session.expiry
    # A refusal that the history does not hold is compared by its own time.
    alone = None if (*sender_key(rejection), own) in session.case.refused else rejection.time
    shown = (own, session.start_tls, session.certificate_sent, rejection.seen_address, session.sender_domain)
    key = ("accepted", sender_key(rejection), shown, rejection.host_basis, failed, expiry, alone)
    if key not in answers:
        answers[key] = facts(FIELDS, _Compared(session=session, failed=failed, expiry=expiry))
    return answers[key]


def _refused_with_certificate(view: _Compared) -> list[Span]:
    sent = [row for row in view.here if row.state.thumbprint]
    return refused_with_certificate(view.session, sent, view.refused_senders)


def later(session: RefusedSession) -> SeenLater:
    """Return what the log shows of the same connector after the last refusal, made once for all in the same state."""
    if not session.shows_commands:
        return NOTHING_SEEN_LATER
    rejection, known = session.rejection, session.case.later
    shown = (sent_thumbprint(rejection), session.start_tls, session.certificate_sent, rejection.seen_address)
    last = session.case.refused_span(rejection)[1]
    key = (sender_key(rejection), shown, last)
    if key not in known:
        view = _Compared(session=session, failed=None, expiry=None)
        seen = [row for row in view.here if view.seen_address and row.state.seen_address == view.seen_address]
        known[key] = SeenLater(
            certificate_accepted=bool(messages_between(view.alike, last)),
            address_accepted=bool(messages_between(seen, last)),
            sent=_sent_after(session, last),
        )
    return known[key]


def _sent_after(session: RefusedSession, time: datetime) -> tuple[Certificate, ...]:
    """Return the other certificates that sessions of the same connector sent after a time."""
    case, own = session.case, sent_thumbprint(session.rejection)
    same = (delivery for delivery in case.deliveries if sender_key(delivery) == sender_key(session.rejection))
    since = (delivery for delivery in same if delivery.last_session and delivery.last_session > time)
    names = (delivery.thumbprint for delivery in since if delivery.thumbprint not in ("", own))
    return tuple(case.certificates[name] for name in names if name in case.certificates)


def _same_security(mail: MailState, session: RefusedSession, own: str) -> bool:
    """Return whether mail was sent with the same certificate, or without any as the refused one."""
    if own or mail.thumbprint:
        return mail.thumbprint == own
    if session.start_tls is False:
        return mail.tls is False
    return session.certificate_sent is False and mail.tls is True


def _elsewhere(view: _Compared) -> list[str]:
    """Return the other connectors on which mail with the same certificate was accepted while this one was refused.

    What was accepted earlier differs in time as well, and so does what was accepted after the refusals where this
    connector is accepted again: then nothing shows that the connector is the difference.
    """
    own, here = view.own, view.session.rejection.connector
    first, last = view.refused_span
    rows = [row for row in view.mail if own and row.state.thumbprint == own and row.state.connector != here]
    until = last if messages_between(view.same, last) else None
    return sorted({row.state.connector for row in rows if row.times.between(first, until)})


def _other_addresses(view: _Compared) -> list[str]:
    """Return the public addresses from which mail was accepted, if none was accepted from the refused one's."""
    if not view.seen_address or view.same_address or is_private(view.seen_address):
        return []
    others = sorted({row.state.seen_address for row in view.alike})
    return [address for address in others if parse_address(address) is not None and not is_private(address)]


def _address_version(view: _Compared) -> str | None:
    address = parse_address(view.seen_address) if view.seen_address else None
    return None if address is None else str(address.version)


def _same_sender(view: _Compared) -> list[str]:
    domain = view.session.sender_domain
    return [] if domain is None else messages_between([row for row in view.alike if row.state.sender_domain == domain])


def _only_null_sender(view: _Compared) -> bool | None:
    return True if view.known_senders and view.refused_senders == {""} else None


def _only_other_senders(view: _Compared) -> bool | None:
    """Return True if only other senders are refused; None where the sender of any accepted mail is not known."""
    if view.refused_senders == {""} or None in view.senders:
        return None
    return True if view.known_senders else None


def _previous_again(view: _Compared) -> list[str]:
    return messages_between(view.previous[1], view.refused_span[1]) if view.previous else []


def _previous_same_name(view: _Compared) -> bool | None:
    known = view.session.case.certificates
    old, new = (known.get(view.previous[0]) if view.previous else None), known.get(view.own)
    if not (old and new and old.issuer and new.issuer):
        return None
    return same_name(old.subject, new.subject) and same_name(old.issuer, new.issuer)


FIELDS = (
    Field(
        "AcceptedSameSecurity",
        "accepted mail of the connector with the same certificate, or without any as here: `14 messages, TIME to TIME`",
        lambda view: messages_between(view.alike, None, view.mended),
    ),
    Field(
        "AcceptedSameCertificate",
        "the same, where a certificate was sent",
        lambda view: messages_between(view.same, None, view.mended) if view.own else None,
    ),
    Field(
        "AcceptedSameCertificateSinceChange",
        "the same, without what was accepted before the last change of the inbound connectors (WhenChangedUTC)",
        lambda view: messages_between(view.same, view.configured, view.mended) if view.own else None,
    ),
    Field(
        "AcceptedWithoutCertificate",
        "the same, where none was sent",
        lambda view: None if view.own else messages_between(view.same, None, view.mended),
    ),
    Field(
        "RefusedWithCertificate",
        "where none was sent: mail of the connector that was refused although it sent a certificate that may verify",
        lambda view: None if view.own else _messages(joined(_refused_with_certificate(view)), ()),
    ),
    Field(
        "AcceptedSinceFailedCheck",
        "such mail while the check of the certificate failed",
        lambda view: messages_between(view.same, *view.failed) if view.failed else None,
    ),
    Field(
        "AcceptedSinceExpiry",
        "such mail after the certificate had expired",
        lambda view: messages_between(view.same, view.expiry, view.mended) if view.expiry else None,
    ),
    Field("SeenAddress", "client address in the answer to EHLO", lambda view: view.seen_address),
    Field(
        "SeenAddressPrivate",
        "whether it is a private one",
        lambda view: is_private(view.seen_address) if view.seen_address else None,
    ),
    Field("SeenAddressVersion", "`4` or `6`", _address_version),
    Field(
        "AcceptedSameAddress",
        "accepted mail from the same address",
        lambda view: messages_between(view.same_address, view.configured, view.mended),
    ),
    Field("AcceptedFromAddress", "the other public addresses from which alone mail is accepted", _other_addresses),
    Field("AcceptedSameSender", "such mail of the same sender domain", _same_sender),
    Field(
        "RelayedSameSender",
        "mail of the same sender domain in any state that was accepted since the first refusal, and in the same state "
        "since the last change of the inbound connectors",
        lambda view: _messages(view.of_sender, [row.state.time_basis for row in view.here]),
    ),
    Field("AcceptedSender", "sender domains that are accepted in the same state", lambda view: view.known_senders),
    Field("OnlyNullSenderRefused", "`true` where only MAIL FROM:<> is refused in that state", _only_null_sender),
    Field("OnlyOtherSendersRefused", "`true` where only other senders are", _only_other_senders),
    Field(
        "AcceptedBeforeWithThisCertificate",
        "whether mail with this certificate was accepted before it was refused first",
        lambda view: view.before is not None if view.own else None,
    ),
    Field(
        "PreviousThumbprint",
        "the other certificate with which mail was accepted last before that",
        lambda view: view.previous[0] if view.previous else None,
    ),
    Field("PreviousAcceptedAgain", "mail accepted with it after the last refusal", _previous_again),
    Field("PreviousHasSameName", "whether both have the same subject and issuer", _previous_same_name),
    Field(
        "AcceptedOnAnotherConnector",
        "other connectors that had mail with this certificate accepted meanwhile",
        _elsewhere,
    ),
)


def messages_between(
    mail: Sequence[AcceptedMail], first: datetime | None = None, last: datetime | None = None
) -> list[str]:
    """Return accepted mail as rules show it, ``14 messages, 2026-... UTC to 2026-... UTC``; an empty list for none."""
    whole = joined(row.times.between(first, last) for row in mail)
    return _messages(whole, [row.state.time_basis for row in mail])


def _messages(whole: Span | None, bases: Iterable[TimeBasis]) -> list[str]:
    if whole is None:
        return []
    basis: TimeBasis = next((basis for basis in bases if not clock.is_known(basis)), "utc")
    times = clock.between(Moment(whole.first, basis), Moment(whole.last, basis))
    return [f"1 message, {times}" if whole.count == 1 else f"{whole.count} messages, {times}"]
