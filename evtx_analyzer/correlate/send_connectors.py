"""The Send connector of a refused session and the server's certificates, against the certificate that was sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property

from msgspec import Struct

from evtx_analyzer.correlate.fields import Field, verdict
from evtx_analyzer.correlate.settings import (
    NOTHING_SEEN_LATER,
    SeenLater,
    as_they_were,
    changes_since,
    named_value,
    same_text,
)
from evtx_analyzer.distinguished_names import issuer_and_subject, name_parts, same_name
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Setting
from evtx_analyzer.model.evidence import Rejection


class Sender(Struct, frozen=True, dict=True):
    """The Send connector of a refused session, and the certificates of the server, against what was sent."""

    rejection: Rejection
    sent: Certificate | None
    connectors: Sequence[Setting]
    certificates: Sequence[Setting]
    since: datetime | None
    later: SeenLater = NOTHING_SEEN_LATER

    @cached_property
    def own(self) -> list[Setting]:
        """Return the exports of the session's connector; there are several if it was exported again after a change."""
        return [setting for (setting,) in as_they_were([[setting] for setting in self.every_own], self.since)]

    @cached_property
    def every_own(self) -> list[Setting]:
        """Return all exports of the session's connector."""
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


def _certificate_set(view: Sender) -> bool | None:
    if changes_since(view.own, view.since):
        return None
    written = [setting.values["TlsCertificateName"] for setting in view.own if "TlsCertificateName" in setting.values]
    return bool(written[-1].strip()) if written else None


def _sent_as_set(view: Sender) -> bool | None:
    """Return whether the certificate that was sent has the names that the connector asks for."""
    sent = view.sent
    if sent is None or not sent.subject or not sent.issuer or changes_since(view.own, view.since):
        return None
    answers = set()
    for issuer, subject in view.wanted:
        # Where the subject ends and the issuer begins is a guess in some logs: both names together are no guess.
        same = same_name(f"{subject} {issuer}", f"{sent.subject} {sent.issuer}")
        # Whether Exchange finds a name whose parts are written in another order is not documented.
        if same or not (_same_parts(issuer, sent.issuer) and _same_parts(subject, sent.subject)):
            answers.add(same)
    if answers == {False} and _named_later(view):
        return None
    # Exports from before and after a change contradict each other: which one was in force is not known. One that fits
    # and is of before a later change may be of before another change as well.
    known = answers == {False} or (answers == {True} and not changes_since(view.every_own, view.since))
    return answers.pop() if known else None


def _named_later(view: Sender) -> bool:
    """Return whether an export without dates names a certificate that is sent since: it may have been set only then."""
    if all(setting.changed for setting in view.own):
        return False
    return any(
        same_name(f"{subject} {issuer}", f"{sent.subject} {sent.issuer}")
        for sent in view.later.sent
        for issuer, subject in view.wanted
    )


def _set_subject(view: Sender) -> str | None:
    sent = view.sent
    if not view.wanted or sent is None or not sent.subject or not sent.issuer:
        return None
    issuer, subject = view.wanted[-1]
    return f"{subject} (issued by {issuer})"


def _same_parts(left: str, right: str) -> bool:
    """Return whether two distinguished names hold the same attributes, whatever their order."""
    return sorted(name_parts(left)) == sorted(name_parts(right))


def _values_of_sent(view: Sender, name: str) -> list[str]:
    return sorted({setting.values.get(name, "") for setting in view.shown})


def _fitting(view: Sender) -> list[str]:
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
        lambda view: changes_since(view.own, view.since),
    ),
    Field("ExchangeCertificate.FittingOneName", "the certificates, where several fit one TlsCertificateName", _fitting),
)


def _fits(setting: Setting, wanted: tuple[str, str]) -> bool:
    issuer, subject = setting.values.get("Issuer", ""), setting.values.get("Subject", "")
    return bool(issuer and subject) and same_name(wanted[0], issuer) and same_name(wanted[1], subject)
