"""What all refused mail has in common, and how much of the accepted mail has it too.

An engineer finds the difference by comparing what works with what does not. A trait that every refusal and no accepted
message has is a clue; one that accepted mail shares is none. Only mail that Exchange Online took for recipients outside
of the own tenant is compared; for the trait of the recipients themselves, all accepted mail is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from evtx_analyzer.correlate.case_facts import sent_thumbprint
from evtx_analyzer.exchange_online import is_private
from evtx_analyzer.model.alike import Alike
from evtx_analyzer.model.evidence import CommonTrait, Rejection
from evtx_analyzer.normalize.kinds import SESSION_KINDS
from evtx_analyzer.smtp.acceptances import MailState, Scope, scope_of
from evtx_analyzer.smtp.deliveries import AcceptedMail

_Trait = tuple[str, Callable[[Rejection], str | None], Callable[[MailState], str | None]]


def common_traits(
    rejections: Sequence[Rejection],
    mail: Iterable[AcceptedMail],
    own_domains: Iterable[str],
    alike: Iterable[Alike] = (),
) -> tuple[CommonTrait, ...]:
    """Return the traits that every refusal in protocol logs has; ``alike`` are the folded refusals."""
    folded = [group for group in alike if group.shared.kind in SESSION_KINDS]
    listed = [rejection for rejection in rejections if rejection.kind in SESSION_KINDS]
    # Refusals that are alike have all traits in common but for their recipients.
    refused = [*listed, *(next(group.rejections()) for group in folded)]
    count = len(listed) + sum(map(len, folded))
    if not refused:
        return ()
    own = frozenset(own_domains)
    accepted = [(row.state, span.count if (span := row.times.all()) else 0) for row in mail]
    outside = [(state, messages) for state, messages in accepted if state.scope == "outside"]
    traits = list(_shared(refused, count, outside))
    if all(scope == "outside" for scope in _scopes(listed, folded, own)):
        known = [(state, messages) for state, messages in accepted if state.scope != "unknown"]
        traits.append(
            CommonTrait(
                trait="outside-recipients",
                value="",
                refused=count,
                accepted=sum(messages for _, messages in outside),
                compared=sum(messages for _, messages in known),
            )
        )
    return tuple(traits)


def _shared(
    refused: Sequence[Rejection], refusals: int, accepted: Sequence[tuple[MailState, int]]
) -> Iterator[CommonTrait]:
    for name, of_rejection, of_state in _TRAITS:
        values = {of_rejection(rejection) for rejection in refused}
        value = values.pop() if len(values) == 1 else None
        if value is None:
            continue
        known = [(shown, count) for state, count in accepted if (shown := of_state(state)) is not None]
        yield CommonTrait(
            trait=name,
            value="" if value == _HAS else value,
            refused=refusals,
            accepted=sum(count for shown, count in known if shown == value),
            compared=sum(count for _, count in known),
        )


# Values of traits that are there or not: no name in a log holds a NUL.
_HAS, _HAS_NOT = "\0has", "\0has not"


def _plain(rejection: Rejection) -> str | None:
    """Return ``_HAS`` if no TLS was used: only a whole session without STARTTLS and TLS shows that."""
    return _HAS if rejection.from_start and not rejection.starttls and not rejection.tls else None


def _address(text: str) -> str | None:
    return text if text and not is_private(text) else None


_TRAITS: tuple[_Trait, ...] = (
    (
        "null-sender",
        lambda rejection: _HAS if rejection.null_sender else None,
        lambda state: None if state.sender_domain is None else _HAS_NOT if state.sender_domain else _HAS,
    ),
    (
        "sender-domain",
        lambda rejection: rejection.mail_from.rpartition("@")[2].casefold() or None,
        lambda state: state.sender_domain,
    ),
    ("certificate", lambda rejection: sent_thumbprint(rejection) or None, lambda state: state.thumbprint),
    ("no-tls", _plain, lambda state: None if state.tls is None else _HAS_NOT if state.tls else _HAS),
    ("seen-address", lambda rejection: _address(rejection.seen_address), lambda state: _address(state.seen_address)),
    ("connector", lambda rejection: rejection.connector or None, lambda state: state.connector),
    ("host", lambda rejection: rejection.host or None, lambda state: state.host or None),
)


def _scopes(listed: Iterable[Rejection], folded: Iterable[Alike], own: frozenset[str]) -> Iterator[Scope]:
    """Yield the scope of each refusal, found once for refusals with the same domains."""
    known: dict[tuple[str, ...], Scope] = {}
    named = [(rejection.rcpt_to, rejection.mail_from, rejection.helo) for rejection in listed]
    rows = ((row.rcpt_to, row.mail_from, group.shared.helo) for group in folded for row in group.differing())
    for rcpt_to, mail_from, helo in chain(named, rows):
        domains = tuple([name.strip().rpartition("@")[2].casefold() for name in rcpt_to.split(";")])
        key = (mail_from.rpartition("@")[2], helo, *domains)
        if key not in known:
            known[key] = scope_of(domains, (*own, *key[:2]))
        yield known[key]
