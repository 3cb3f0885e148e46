"""The clear text before TLS."""

from __future__ import annotations

import pytest

from evtx_analyzer.handshakes.smtp import dialog

GREETING = b"220 mx.example ready\r\n"
HELLO = b"250-mx.example Hello [203.0.113.7]\r\n250-SIZE 100\r\n250 STARTTLS\r\n"


def test_until_tls_begins():
    client, server = b"EHLO a.example\r\nSTARTTLS\r\n", GREETING + HELLO + b"220 go ahead\r\n"
    talk = dialog(client + b"\x16\x03", server + b"\x16\x03")
    assert (talk.starttls, talk.client_end, talk.server_end) == ("accepted", len(client), len(server))
    assert (talk.ehlo, talk.seen_address) == ("a.example", "203.0.113.7")
    assert talk.banner == "220 mx.example ready"


@pytest.mark.parametrize(
    ("client", "server", "state"),
    [
        (b"EHLO a\r\nSTARTTLS\r\n", GREETING + HELLO + b"454 4.7.0 not now\r\n", "refused"),
        (b"EHLO a\r\nSTARTTLS\r\n", GREETING + HELLO, "unanswered"),
        (b"EHLO a\r\nMAIL FROM:<a@b>\r\n", GREETING + HELLO, "not-used"),
        (b"EHLO a\r\nstarttls\r\n", GREETING + HELLO + b"220 go\r\n", "accepted"),
        (b"HELO a\r\nSTARTTLS\r\n", GREETING + b"250 hi\r\n220 go\r\n", "accepted"),
        (b"EHLO a\r\nDATA\r\nSTARTTLS\r\n", GREETING + HELLO + b"354 go\r\n250 ok\r\n", "not-used"),
        (b"", b"", "not-used"),
        (b"\0\1\2\n", b"220 \xff\xfe\n", "not-used"),
        (b"EHLO a\nSTARTTLS\n", b"220 x\n250 y\n220 z\n", "accepted"),
    ],
)
def test_states(client, server, state):
    assert dialog(client, server).starttls == state


def test_pipelined_replies_are_counted_and_not_guessed():
    client = b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
    server = GREETING + HELLO + b"250 2.1.0 ok\r\n550 5.7.64 TenantAttribution; Relay Access Denied\r\n"
    assert dialog(client, server).refusal.startswith("550 5.7.64")


def test_a_reply_that_never_ends_is_left():
    assert dialog(b"EHLO a\r\nSTARTTLS\r\n", GREETING + b"250-x\r\n" * 50_000).starttls == "unanswered"
