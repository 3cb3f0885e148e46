"""Accepted mail for tests: one state of one server, before, between and after its refusals."""

from __future__ import annotations

from datetime import timedelta

from evidence import HANDSHAKE, OWN
from msgspec.structs import replace

from evtx_analyzer.smtp.acceptances import MailState, Span, Spread
from evtx_analyzer.smtp.deliveries import AcceptedMail

HERE = "203.0.113.7"
BEFORE, BETWEEN, AFTER = timedelta(days=-1), timedelta(minutes=30), timedelta(days=1)
STATE = MailState("EX01", "send-connector", "Outbound", OWN, True, HERE, "contoso.com", "outside")


def spread(*times):
    made = Spread()
    for time in times:
        made.add(Span(1, time, time))
    return made


def mail(*offsets, **changes):
    return AcceptedMail(replace(STATE, **changes), spread(*(HANDSHAKE + offset for offset in offsets)))
