"""What changed after mail was refused, and what Exchange Online took from then on.

A change counts as a repair only together with mail that was accepted afterwards for recipients outside of the own
tenant, because mail to the own tenant is accepted whatever the attribution. docs/rules.md lists the names of changes,
which causes name under ``repair``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.correlate import connector_checks
from evtx_analyzer.correlate.case_facts import sent_thumbprint
from evtx_analyzer.exchange_online import is_private
from evtx_analyzer.model.evidence import PASSED, Operation, Rejection
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.normalize.kinds import KINDS_WITH_CERTIFICATES
from evtx_analyzer.repair.later import Later, between, meanwhile, outside_mail, refused_also, same_host
from evtx_analyzer.repair.refused_state import RefusedState, reached_online, tls_used
from evtx_analyzer.rules.definitions import CHANGES
from evtx_analyzer.smtp.acceptances import MailState, Span
from evtx_analyzer.smtp.deliveries import AcceptedMail

Part = Literal["certificate", "tls", "address", "sender"]
_TRUE = ("true",)
# Facts of the exported configuration that show a repair on the tenant's side, by the name of the change.
_EXPORTED = {
    "connector-covers-certificate": "InboundConnector.CertificateMatches",
    "connector-covers-address": "InboundConnector.AddressMatches",
    "domain-accepted": "AcceptedDomain.Sender",
}


class Change(Struct, frozen=True, kw_only=True):
    """A change after the refusals: since when, where it stands, and the mail that was accepted from then on.

    ``accepted`` is None where no mail to outside recipients was accepted since. ``alone`` says that mail was accepted
    which differs from the refused mail in nothing that the logs show but in this.
    """

    name: str
    text: str
    time: datetime | None
    origin: Origin | None
    accepted: Span | None
    alone: bool


def changes(state: RefusedState, later: Later) -> list[Change]:
    """Return every change that later logs show, in the order of ``CHANGES``."""
    mail = outside_mail(state, later)
    seen = [*_checks(state, later, mail), *_sessions(state, later, mail), *_exports(state, later, mail)]
    return sorted(seen, key=lambda change: (CHANGES.index(change.name), change.time is None, change.time or 0))


def _checks(state: RefusedState, later: Later, mail: Sequence[AcceptedMail]) -> Iterator[Change]:
    """Yield the failed checks that pass later on the same machine, in the same process and under the same policy."""
    received = {state.sample.received.thumbprint} if state.sample.received else set()
    for failed in state.failed:
        name = "remote-check-passes" if failed.thumbprint in received - state.thumbprints else "check-passes"
        # The failed check made again later, on the same machine.
        same = later.checks_of.get((failed.thumbprint, failed.policy, failed.process), ())
        known = (check for check in same if check.result and check.time > failed.time)
        again = [check for check in known if same_host(check.host, failed.host)]
        # Only what follows the last failure counts: a check that fails at the end does not pass. One whose chain has
        # errors passed because its flags ignore them.
        bad = (check.time for check in again if check.result != PASSED or check.chain_status)
        until = max(bad, default=failed.time)
        passed = [operation for operation in again if operation.time > until]
        if not passed:
            continue
        first = min(passed, key=lambda operation: operation.time)
        text = (
            f"CAPI2: the check of {first.subject or first.thumbprint} ({first.thumbprint}) that failed at "
            f"{clock.as_text(failed.time)} has passed since {clock.as_text(first.time)}."
        )
        yield _change(state, name, text, first, _with_same_certificate(state, mail))


def _sessions(state: RefusedState, later: Later, mail: Sequence[AcceptedMail]) -> Iterator[Change]:
    """Yield what sessions that were accepted after the last refusal do in another way than the refused ones."""
    see = _Sessions(state, later)
    if state.thumbprints:
        others = [row for row in mail if row.state.thumbprint and row.state.thumbprint not in state.thumbprints]
        names = {row.state.thumbprint for row in _after(others, state.end)}
        text = f"Another certificate is sent: {', '.join(sorted(names))}"
        yield from see.change("another-certificate", text, others, lambda refused: sent_thumbprint(refused) in names)
    if state.certificate_sent is False:
        shown = [row for row in mail if row.state.thumbprint]
        sent = {row.state.thumbprint for row in _after(shown, state.end)}
        text = f"A certificate is sent now: {', '.join(sorted(sent))}"
        yield from see.change("certificate-sent", text, shown, lambda refused: sent_thumbprint(refused) in sent)
    if state.tls is False:
        secured = [row for row in mail if row.state.tls]
        yield from see.change("tls-used", "TLS is used now", secured, lambda refused: tls_used(refused) is True)
    # A refusal whose address is not known may have come from the one that seems to be another.
    if state.addresses and state.every_address:
        known = [row for row in mail if row.state.seen_address and not is_private(row.state.seen_address)]
        moved = [row for row in known if row.state.seen_address not in state.addresses]
        seen = {row.state.seen_address for row in _after(moved, state.end)}
        text = f"Exchange Online sees another address: {', '.join(sorted(seen))}"
        yield from see.change("another-address", text, moved, lambda refused: refused.seen_address in seen)
    if state.online is False:
        text = "The sessions end at Exchange Online itself now"
        yield from see.change("exchange-online-reached", text, mail, lambda refused: reached_online(refused) is True)


_DIFFERS: Mapping[str, tuple[Part, ...]] = {
    "another-certificate": ("certificate",),
    "certificate-sent": ("certificate", "tls"),
    "tls-used": ("tls", "certificate"),
    "another-address": ("address",),
    "exchange-online-reached": ("address",),
}
"""The parts in which mail differs from the refused mail by the change itself."""


class _Sessions(Struct, frozen=True):
    """The sessions after an incident, in which a change may show."""

    state: RefusedState
    later: Later

    def change(
        self, name: str, text: str, mail: Sequence[AcceptedMail], has: Callable[[Rejection], bool]
    ) -> Iterator[Change]:
        """Yield the change that accepted mail itself shows, unless some of it was accepted while other was refused.

        Where mail that has the change was refused before any was accepted, something else ended the refusals.
        """
        state = self.state
        span = between(mail, state.end, None)
        if span is not None and not meanwhile(mail, state.start, state.end):
            since = f"{text}, since {clock.as_text(span.first)}."
            failed = refused_also(state, self.later, span.first, has)
            alone = any(_differs(row.state, state) <= {*_DIFFERS[name]} for row in _after(mail, state.end))
            accepted = None if failed else span
            yield Change(
                name=name, text=since, time=span.first, origin=None, accepted=accepted, alone=alone and not failed
            )


def _exports(state: RefusedState, later: Later, mail: Sequence[AcceptedMail]) -> Iterator[Change]:
    """Yield exports made after the fix that fit the refused session; its cause says that the earlier ones did not."""
    if not later.objects:
        return
    known = later.facts.certificates.get(min(state.thumbprints, default=""))
    # That they were changed after the refusals is the repair.
    facts = connector_checks.check(state.sample, known or state.sample.sent, later.undated_objects)
    for name, field in _EXPORTED.items():
        if facts.get(field) == _TRUE:
            cmdlet = "Get-AcceptedDomain" if name == "domain-accepted" else "Get-InboundConnector"
            origin = min((setting.origin for setting in later.objects.get(cmdlet, ())), key=str, default=None)
            text = f"{cmdlet} fits the refused session now ({field})."
            yield _change(state, name, text, None, _with_same_certificate(state, mail), origin)


def _change(
    state: RefusedState,
    name: str,
    text: str,
    shown: Operation | None,
    mail: Sequence[AcceptedMail],
    origin: Origin | None = None,
) -> Change:
    """Return a change that something else than mail shows, with the mail accepted since in the refused state."""
    since = max(shown.time, state.end) if shown is not None else state.end
    # Mail in this state that was accepted between the refusals makes its later acceptance worthless as evidence.
    before = meanwhile(mail, state.start, shown.time if shown is not None and shown.time < state.end else state.end)
    accepted = None if before or state.accepted_meanwhile else between(mail, since, None)
    # Where mail was refused after the change, something else may have ended the refusals.
    ended = shown is None or shown.time >= state.end
    alone = ended and any(not _differs(row.state, state) for row in _after(mail, since))
    return Change(
        name=name,
        text=text,
        time=shown.time if shown is not None else None,
        origin=shown.origin if shown is not None else origin,
        accepted=accepted,
        alone=alone and accepted is not None,
    )


def _with_same_certificate(state: RefusedState, mail: Sequence[AcceptedMail]) -> list[AcceptedMail]:
    """Return the mail that was not sent with another certificate, as far as its log shows; IIS SMTP logs show none."""
    return [
        row
        for row in mail
        if row.state.kind not in KINDS_WITH_CERTIFICATES or "certificate" not in _differs(row.state, state)
    ]


def _differs(mail: MailState, state: RefusedState) -> set[Part]:
    """Return in what accepted mail differs, or may differ, from the refused mail."""
    parts: set[Part] = set()
    # Where nothing shows what the refused sessions sent, any mail may differ in it.
    other = bool(mail.thumbprint) or state.certificate_sent is None
    if (mail.thumbprint not in state.thumbprints) if state.thumbprints else other:
        parts.add("certificate")
    if state.tls is None or mail.tls is not state.tls:
        parts.add("tls")
    if state.addresses and mail.seen_address not in state.addresses:
        parts.add("address")
    if None in state.sender_domains or mail.sender_domain not in state.sender_domains:
        parts.add("sender")
    return parts


def _after(mail: Iterable[AcceptedMail], time: datetime) -> list[AcceptedMail]:
    return [row for row in mail if row.times.between(time, None) is not None]
