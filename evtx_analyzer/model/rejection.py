"""A refusal as the report holds it; ``evidence`` states the rules for its names and times."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, get_args

from msgspec import Struct

from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.origin import Origin, TimeBasis

HostBasis = Literal["option", "row", "manifest", "file", "folder", "address", "assumed", "unknown"]
"""How the machine of a refusal is known, the surest way first; ``HOST_BASES`` is this order."""
HOST_BASES: tuple[HostBasis, ...] = get_args(HostBasis)


class Rejection(Struct, frozen=True, kw_only=True, gc=False):
    """One message refused with 5.7.64 and what its session shows: handshake, certificates, sender, recipient.

    The same refusal found in several logs is one rejection: ``origins`` lists all places, the best first, ``kinds``
    the kinds of those logs. ``rcpt_to`` holds several addresses (joined by ``; ``) where one reply refused them all.
    ``from_start`` says that the log holds every row of the session from the first one to the refusal: what those rows
    do not show did not happen.
    ``seen_address`` is the address from which the remote side saw this one (its answer to EHLO).
    ``null_sender`` is True where the log shows MAIL FROM:<>, False where it shows a sender, None where it shows
    neither; ``mail_from`` is empty where it is not False. ``ehlo`` are the keywords of the remote side's answer to the
    first EHLO.
    ``certificate_name`` and ``certificate_verdict`` are what the reply says of the certificate that arrived
    (``app01 is untrustedroot``). ``remote_host`` and ``remote_clock`` are what Exchange Online writes in brackets.
    Only a rejection whose ``time_basis`` is ``utc`` or ``zone`` is paired by time; ``other_time`` is the second reading
    of an ambiguous one, and of a local one whose day and month can be read both ways.
    """

    id: str
    time: datetime
    host: str
    host_basis: HostBasis
    kind: str
    connector: str
    session: str
    local_endpoint: str
    remote_endpoint: str
    remote_name: str
    helo: str
    starttls: bool
    handshake_time: datetime | None
    tls: str
    sent: Certificate | None
    received: Certificate | None
    mail_from: str
    rcpt_to: str
    message_id: str
    stage: str
    reply: str
    attribution: str
    untrusted_root_hint: bool
    resolution: float
    signals: tuple[str, ...]
    origin: Origin
    origins: tuple[Origin, ...]
    kinds: tuple[str, ...] = ()
    seen_address: str = ""
    from_start: bool = False
    remote_host: str = ""
    remote_clock: datetime | None = None
    tls_error: str = ""
    time_basis: TimeBasis = "utc"
    other_time: datetime | None = None
    null_sender: bool | None = None
    ehlo: tuple[str, ...] = ()
    certificate_name: str = ""
    certificate_verdict: str = ""
