"""Mails as people save and forward them: a report is read in each form, and what is attached is never passed over."""

from __future__ import annotations

import base64

import pytest
from smtp_case import analyze, rejections

from samples.cases import LEAF
from samples.pieces import START, accepted, refused, send

REPLY = "550 5.7.64 TenantAttribution; Relay Access Denied [x.outlook.com]"
HEADERS = "From: a@contoso.com\nTo: b@contoso.com\nSubject: mail\nDate: Thu, 1 Dec 2016 03:10:00 +0000\n"


def report(number=1):
    return (
        f"From: postmaster@contoso.com\nTo: a@contoso.com\nDate: Thu, 1 Dec 2016 03:09:5{number} +0000\n"
        "MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=r\n\n"
        "--r\nContent-Type: text/plain\n\nno\n--r\nContent-Type: message/delivery-status; name=details.txt\n\n"
        "Reporting-MTA: dns;EX01.contoso.com\n\nFinal-Recipient: rfc822;b@fabrikam.com\nAction: failed\n"
        f"Status: 5.7.64\nDiagnostic-Code: smtp;{REPLY}\n\n--r\nContent-Type: message/rfc822\n\n"
        f"Message-ID: <{number}@contoso.com>\nContent-Type: multipart/mixed; boundary=m\n\n--m\n"
        "Content-Type: text/plain; name=offer.txt\n\nx\n--m--\n--r--\n"
    )


def mixed(*parts):
    body = "".join(f"--b\n{part}\n" for part in parts)
    return f"{HEADERS}MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n{body}--b--\n"


def attached(name, content, kind="application/octet-stream"):
    text = base64.encodebytes(content.encode()).decode()
    return f'Content-Type: {kind}; name="{name}"\nContent-Transfer-Encoding: base64\n\n{text}'


FORWARDED = f"Content-Type: message/rfc822\n\n{report()}"
LOGO = attached("logo.gif", "x", "image/gif")
READ = {
    "as it is": report().encode(),
    "with CRLF": report().replace("\n", "\r\n").encode(),
    "UTF-16 of Out-File": report().encode("utf-16"),
    "UTF-16 without a mark": report().encode("utf-16-le"),
    "with a mark": b"\xef\xbb\xbf" + report().encode(),
    "behind empty lines": b"\r\n\r\n" + report().encode(),
    "behind a line of blanks": b" \t\r\n" + report().encode(),
    "forwarded": mixed(f"Content-Type: message/rfc822\n\n{report()}").encode(),
    "forwarded with a logo": mixed(
        f"Content-Type: message/rfc822\n\n{report()}", attached("logo.png", "x", "image/png")
    ).encode(),
    "an mbox of one": b"From postmaster Thu Dec  1 03:09:56 2016\n" + report().encode(),
}


@pytest.mark.parametrize("form", READ)
def test_a_report_is_read_in_every_form(form, tmp_path):
    made = analyze(tmp_path, {"ndr.eml": READ[form]})
    assert [(item.reply, item.host, item.message_id) for item in rejections(made)] == [
        (REPLY, "EX01", "<1@contoso.com>")
    ]
    assert made.losses == ()


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_mail_of_an_mbox_is_read(ending, tmp_path):
    first = "From x Thu Dec  1 03:09:56 2016\n" + mixed("Content-Type: text/plain\n\nFrom here on 2016\n")
    text = first + "".join(f"\nFrom x Thu Dec  1 03:09:56 2016\n{report(number)}" for number in (1, 2, 3))
    made = analyze(tmp_path, {"mails": text.replace("\n", ending)})
    assert sorted(item.message_id for item in rejections(made)) == [f"<{number}@contoso.com>" for number in (1, 2, 3)]
    assert made.losses == ()


ATTACHED = {
    "a log": (mixed(attached("SEND.LOG", send(refused(LEAF)).decode())), ["SEND.LOG"]),
    "a log behind a text": (mixed("Content-Type: text/plain\n\nhello\n", attached("SEND.LOG", "x")), ["SEND.LOG"]),
    "a report as a file": (mixed(attached("ndr.eml", report())), ["ndr.eml"]),
    "a report in base64": (mixed(attached("ndr.eml", report(), "message/rfc822")), ["ndr.eml"]),
    "two": (
        mixed(attached("a.zip", "x"), attached("b.evtx", "y"), LOGO),
        ["a.zip", "b.evtx"],
    ),
    "beside a report": (mixed(FORWARDED, attached("SEND.LOG", "x")), ["SEND.LOG"]),
}


@pytest.mark.parametrize("case", ATTACHED)
def test_attachments_are_a_loss_with_their_names(case, tmp_path):
    text, names = ATTACHED[case]
    made = analyze(tmp_path, {"mail.eml": text, "SEND.LOG": send(accepted(LEAF, START, "08D50D3D9730A8D2"))})
    (loss,) = made.losses
    assert loss.reason.endswith(f"save them, and give the folder ({', '.join(names)})")
    assert made.exit_code == (1 if case == "beside a report" else 3)


@pytest.mark.parametrize(
    "body",
    [
        f"Content-Type: text/plain\n\n{REPLY}\n",
        f"Content-Type: text/html\n\n<p>{REPLY}</p>\n",
        "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n"
        + base64.b64encode(REPLY.encode()).decode()
        + "\n",
        "Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n550 5.7.6=\n4 TenantAttribution\n",
    ],
)
def test_a_mail_that_only_tells_of_the_refusal_says_what_to_give(body, tmp_path):
    for text in (HEADERS + "MIME-Version: 1.0\n" + body, mixed(body)):
        made = analyze(tmp_path, {"mail.eml": text, "SEND.LOG": send(accepted(LEAF, START, "08D50D3D9730A8D2"))})
        (loss,) = made.losses
        assert "save the report itself" in loss.reason
        assert (made.exit_code, rejections(made)) == (3, [])


@pytest.mark.parametrize("text", [mixed("Content-Type: text/plain\n\nhello\n"), HEADERS + "\nPlease call me.\n"])
def test_a_mail_that_holds_nothing_is_no_loss(text, tmp_path):
    made = analyze(tmp_path, {"mail.eml": text, "SEND.LOG": send(accepted(LEAF, START, "08D50D3D9730A8D2"))})
    assert (made.losses, made.exit_code) == ((), 0)


def test_a_log_that_is_pasted_into_a_mail_is_read(tmp_path):
    made = analyze(tmp_path, {"mail.eml": (HEADERS + "\nplease see\n\n").encode() + send(refused(LEAF))})
    assert [item.sent.thumbprint for item in rejections(made)] == [LEAF.thumbprint]
