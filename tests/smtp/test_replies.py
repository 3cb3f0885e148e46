"""What Exchange Online said: each distinct text once, in every output; what differs per message splits no text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from evidence import HANDSHAKE, rejection
from msgspec.structs import replace
from reports import as_text, report

from evtx_analyzer.correlate.incidents import incidents
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.report import language
from evtx_analyzer.report.redact import redacted
from evtx_analyzer.smtp.replies import bracket, code, compared, has_code, joined, reply_text

DENIED = "550 5.7.64 TenantAttribution; Relay Access Denied"
NAMED = f"{DENIED} app01 is untrustedroot."


def answered(text, number=1, **changes):
    time = HANDSHAKE + timedelta(seconds=number)
    origin = Origin(source="SEND.LOG", line=number)
    return rejection(id=f"R-{number}", reply=text, time=time, origin=origin, **changes)


def texts_of(*replies):
    (made,) = incidents([answered(*pair[::-1]) for pair in enumerate(replies)], [], {})
    return [(reply.text, reply.count) for reply in made.replies]


SAME = {
    "no host": ("{} [BL2NAM02FT011.mail.protection.outlook.com]", "{}"),
    "host": ("{} [BL2NAM02FT011.mail.protection.outlook.com]", "{} [AM5EUR02FT030.mail.protection.outlook.com]"),
    "clock and session id": (
        "{} [AM0FT1.protection.outlook.com 2026-03-10T08:14:02.123Z 08DD5F0A1B2C3D4E]",
        "{} [AM0FT1.protection.outlook.com 2026-03-10T08:15:09.500Z 08DD5F0A1B2C3D4F]",
    ),
    "message id": ("{} <a1@contoso.com>", "{} <b2.long-id@mail.contoso.com>"),
    "recipient": ("{} for b@fabrikam.com", "{} for c@example.org"),
    "wrapping of a report": ("{}", "smtp;{}", "#{}##", "smtp; {}"),
    "folded line": ("{}", "550 5.7.64 TenantAttribution;  Relay Access\r\n Denied"),
}
DIFFERENT = {
    "certificate that is named": (NAMED, NAMED.replace("app01", "app02")),
    "verdict on it": (NAMED, DENIED),
    "attribution": (f"{DENIED} ATTR36", f"{DENIED} ATTR35"),
    "address in brackets": (f"{DENIED} [203.0.113.7]", f"{DENIED} [203.0.113.8]"),
    "IPv6 address in brackets": (f"{DENIED} [2001:db8::5]", f"{DENIED} [2001:db8::6]"),
    "code": (DENIED, DENIED.replace("550", "450")),
}


@pytest.mark.parametrize("replies", SAME.values(), ids=SAME.keys())
def test_what_varies_per_message_is_one_text_and_the_first_is_shown(replies):
    replies = [text.format(DENIED) for text in replies]
    assert texts_of(*replies) == [(replies[0], len(replies))]


@pytest.mark.parametrize("replies", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_what_a_reply_says_keeps_it_apart(replies):
    assert texts_of(*replies) == [(text, 1) for text in replies]


@pytest.mark.parametrize(
    "text", ["x" * 300_000 + "@", "#" * 300_000 + "x", "[" * 300_000, "[1" * 150_000, "smtp" * 90_000]
)
def test_a_long_reply_is_compared_in_one_go(text):
    """A pattern that goes back and forth would not come to an end here."""
    assert len(compared(text)) <= len(text)


def test_a_refusal_whose_log_holds_no_reply_says_nothing():
    assert texts_of("", DENIED) == [(DENIED, 1)]


def test_an_incident_holds_each_text_with_its_first_and_last_time():
    (made,) = incidents([answered(DENIED, 1), answered(NAMED, 2), answered(DENIED, 9)], [], {})
    seconds = [(r.text, r.count, (r.first - HANDSHAKE).seconds, (r.last - HANDSHAKE).seconds) for r in made.replies]
    assert seconds == [(DENIED, 2, 1, 9), (NAMED, 1, 2, 2)]
    assert made.more_replies == 0


def test_an_incident_holds_twenty_texts_and_counts_the_others():
    many = [answered(f"{DENIED} app{number % 25} is untrustedroot", number) for number in range(1, 51)]
    (made,) = incidents(many, [], {})
    assert len(made.replies) == 20
    assert sum(reply.count for reply in made.replies) + made.more_replies == 50
    assert made.more_replies == 10


def test_incidents_with_one_text_show_it_once():
    replies = [reply_text(answered(f"{DENIED} [{host}.outlook.com]", number)) for number, host in ((2, "b"), (1, "a"))]
    (whole,) = joined(replies)
    assert (whole.text, whole.count) == (f"{DENIED} [a.outlook.com]", 2)
    assert ((whole.first - HANDSHAKE).seconds, (whole.last - HANDSHAKE).seconds) == (1, 2)


def with_replies(*replies):
    made = report("kb-3212877")
    (incident,) = incidents([answered(*pair[::-1]) for pair in enumerate(replies, 1)], [], {})
    return replace(made, incidents=(incident,))


@pytest.mark.parametrize("suffix", [".txt", ".md", ".html", ".csv", ".replies.csv", ".json"])
def test_every_output_shows_what_was_said(suffix):
    text = as_text(with_replies(NAMED, DENIED, DENIED), suffix, language.ENGLISH)
    assert "app01 is untrustedroot" in text


def test_the_reply_stands_behind_the_reason_and_before_the_evidence():
    text = as_text(with_replies(NAMED), ".txt", language.ENGLISH)
    assert text.index("\nWhy\n") < text.index("\nWhat Exchange Online said\n") < text.index("\nEvidence for\n")
    assert f"  1 x {NAMED}\n" in text


def test_times_are_shown_where_there_are_several_replies():
    several = as_text(with_replies(NAMED, DENIED, DENIED), ".txt", language.ENGLISH)
    assert f"  2 x {DENIED}\n      2026-03-01 12:00:02.000 UTC to 2026-03-01 12:00:03.000 UTC\n" in several


def test_replies_are_redacted_like_all_else():
    made = with_replies(f"{NAMED} [mx7.fabrikam-mail.example] for bert@fabrikam.com")
    hidden, _ = redacted(made)
    for suffix in (".txt", ".md", ".html", ".csv", ".replies.csv", ".json"):
        text = as_text(hidden, suffix, language.ENGLISH).casefold()
        assert not [name for name in ("app01", "bert", "fabrikam") if name in text], suffix
        assert "is untrustedroot" in text


# ------------------------------------------------------------------------------------------------- parts of a reply

CLOCK = datetime(2025, 1, 29, 19, 7, 30, 476_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("brackets", "expected"),
    [
        ("[BL2NAM02FT011.mail.protection.outlook.com]", ("BL2NAM02FT011.mail.protection.outlook.com", None)),
        ("ATTR36. [AM0.prod.outlook.com 2025-01-29T19:07:30.476Z 08DD3F]", ("AM0.prod.outlook.com", CLOCK)),
        ("[a.example 2024-01-01T00:00:00.000Z] [b.example 2025-01-29T19:07:30.476Z 2]", ("b.example", CLOCK)),
        ("[b.example] [192.0.2.1]", ("b.example", None)),
        ("[192.0.2.1 2025-01-29T19:07:30.476Z 08DD3F]", ("", None)),
        ("[host.example 2025-13-29T19:07:30.476Z 08DD3F]", ("host.example", None)),
        ("[1.a1]", ("1.a1", None)),
        ("", ("", None)),
    ],
)
def test_the_last_bracket_with_the_name_of_a_host_is_that_of_exchange_online(brackets, expected):
    found = bracket(f"{DENIED} {brackets}")
    assert (found.host, found.clock) == expected


@pytest.mark.parametrize(
    ("text", "expected", "is_refusal"),
    [
        (DENIED, "550 5.7.64", True),
        ("#550 5.7.64 TenantAttribution##", "550 5.7.64", True),
        ("#< #5.7.64 smtp;550 5.7.64 TenantAttribution> #SMTP#", "5.7.64", True),
        ("5.7.64 TenantAttribution", "5.7.64", True),
        ("450 try later", "450", False),
        ("550 5.7.640 something", "550 5.7.640", False),
        ("550 blocked: 192.5.7.64", "550", False),
        ("550 blocked: 5.7.64.1", "550", False),
        ("250 2.1.5 OK", "no code", False),
        ("TenantAttribution", "no code", False),
    ],
)
def test_the_code_of_a_reply_is_no_part_of_an_address(text, expected, is_refusal):
    assert (code(text), has_code(text)) == (expected, is_refusal)
