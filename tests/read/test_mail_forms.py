"""Mails as people save and forward them: a report is read in each form, and what is attached is never passed over."""

from __future__ import annotations

import base64
import binascii
import io
import quopri
import zipfile

import pytest
from smtp_case import analyze, rejections

from evtx_analyzer.discover.archive.limits import Limits
from evtx_analyzer.model.origin import display_name
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


LOG = send(refused(LEAF)).decode()
INNER = mixed(attached("SEND.LOG", LOG)).replace("boundary=b", "boundary=i").replace("--b", "--i")
FORWARDED_LOG = f"Content-Type: message/rfc822\n\n{INNER}"


def zipped(name, content):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


def attached_bytes(name, content):
    text = base64.encodebytes(content).decode()
    return (
        f"Content-Type: application/octet-stream\nContent-Disposition: attachment; filename={name}\n"
        f"Content-Transfer-Encoding: base64\n\n{text}"
    )


ATTACHED = {
    "a log": (mixed(attached("SEND.LOG", LOG)), "mail.eml!SEND.LOG"),
    "a log behind a text": (
        mixed("Content-Type: text/plain\n\nhello\n", attached("SEND.LOG", LOG)),
        "mail.eml!SEND.LOG",
    ),
    "a log as text": (
        mixed(f"Content-Type: text/plain\nContent-Disposition: attachment; filename=SEND.LOG\n\n{LOG}"),
        "mail.eml!SEND.LOG",
    ),
    "a log in quoted-printable": (
        mixed(
            "Content-Type: text/plain\nContent-Disposition: attachment; filename=SEND.LOG\n"
            "Content-Transfer-Encoding: quoted-printable\n\n" + quopri.encodestring(LOG.encode()).decode()
        ),
        "mail.eml!SEND.LOG",
    ),
    "a log with an encoded name": (
        mixed(attached("=?utf-8?q?Gr=C3=B6=C3=9Fe=2ELOG?=", LOG)),
        "mail.eml!Gr\u00f6\u00dfe.LOG",
    ),
    "a log with a path": (mixed(attached("C:/Users/x/SEND.LOG", LOG)), "mail.eml!SEND.LOG"),
    "a zip": (mixed(attached_bytes("logs.zip", zipped("EX01/SEND.LOG", LOG))), "mail.eml!logs.zip!EX01/SEND.LOG"),
    "a report as a file": (mixed(attached("ndr.eml", report())), "mail.eml!ndr.eml"),
    "a report in base64": (mixed(attached("ndr.eml", report(), "message/rfc822")), "mail.eml!ndr.eml"),
    "a log of a forwarded mail": (mixed(FORWARDED_LOG), "mail.eml!SEND.LOG"),
    "beside a picture": (mixed(LOGO, attached("SEND.LOG", LOG)), "mail.eml!SEND.LOG"),
    "in an mbox": (
        f"From x Thu Dec  1 03:09:56 2016\n{HEADERS}\nhello\n\nFrom x Thu Dec  1 03:09:56 2016\n"
        + mixed(attached("SEND.LOG", LOG)),
        "mail.eml!SEND.LOG",
    ),
}


@pytest.mark.parametrize(
    "write", [str.encode, lambda text: text.replace("\n", "\r\n").encode(), lambda text: text.encode("utf-16")]
)
@pytest.mark.parametrize("case", ATTACHED)
def test_what_is_attached_is_read_as_a_member(case, write, tmp_path):
    text, place = ATTACHED[case]
    made = analyze(tmp_path, {"mail.eml": write(text)})
    (rejection,) = rejections(made)
    # The rows of a text that was attached without an encoding stand in the mail too.
    assert place in [display_name(origin) for origin in rejection.origins]
    assert made.losses == () or case in ("a log as text", "a log in quoted-printable")  # the mail then tells of it too


def test_a_report_and_what_is_attached_beside_it(tmp_path):
    made = analyze(tmp_path, {"mail.eml": mixed(FORWARDED, attached("SEND.LOG", LOG))})
    assert len(rejections(made)) == 2
    assert made.losses == ()


def test_what_a_report_returns_is_not_unpacked(tmp_path):
    made = analyze(tmp_path, {"ndr.eml": report()})
    assert [source.path for source in made.sources] == ["ndr.eml"]


def test_attachments_that_are_nothing_are_listed(tmp_path):
    made = analyze(tmp_path, {"mail.eml": mixed(attached("offer.docx", "x"), LOGO), "SEND.LOG": LOG})
    assert {source.path for source in made.sources} == {"SEND.LOG", "mail.eml", "mail.eml!offer.docx"}
    assert made.losses == ()
    assert next(source.reason for source in made.sources if source.path == "mail.eml").startswith(
        "a mail that is no report"
    )


def test_a_damaged_attachment_is_a_loss(tmp_path):
    whole = attached_bytes("capi2.evtx", b"ElfFile\0" + bytes(5000))
    made = analyze(tmp_path, {"mail.eml": mixed(whole), "SEND.LOG": send(accepted(LEAF, START, "08D50D3D9730A8D2"))})
    assert made.losses
    assert made.exit_code == 3


def test_the_limits_of_archives_hold_for_mails(tmp_path):
    logs = mixed(*(attached(f"SEND{number}.LOG", LOG) for number in range(5)))
    made = analyze(tmp_path, {"mail.eml": logs, "SEND.LOG": LOG}, limits=Limits(members=3))
    assert any("--max-members" in loss.reason for loss in made.losses)
    inner = mixed(attached("SEND.LOG", LOG))
    for _ in range(3):
        inner = mixed(attached("mail.eml", inner))
    made = analyze(tmp_path, {"mail.eml": inner, "SEND.LOG": LOG}, limits=Limits(depth=3))
    assert any("--max-depth" in loss.reason for loss in made.losses)


def test_a_bomb_in_a_mail_stops(tmp_path):
    bomb = mixed(attached_bytes("logs.zip", zipped("SEND.LOG", b"0" * (80 << 20))))
    made = analyze(tmp_path, {"mail.eml": bomb, "SEND.LOG": LOG})
    assert any("as a bomb does" in loss.reason for loss in made.losses)


def test_a_mail_that_is_not_recognized_as_one_keeps_its_loss(tmp_path):
    """Its first header is a strange one."""
    made = analyze(tmp_path, {"mail.eml": "Strange: x\n" + mixed(attached("SEND.LOG", "x")), "SEND.LOG": LOG})
    (loss,) = made.losses
    assert loss.reason.endswith("save them, and give the folder (SEND.LOG)")


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


def test_a_log_that_is_pasted_into_a_mail_with_another_attachment_is_read(tmp_path):
    text = mixed(f"Content-Type: text/plain\n\nplease see\n\n{LOG}", attached_bytes("offer.docx", b"x"))
    made = analyze(tmp_path, {"mail.eml": text})
    assert [item.sent.thumbprint for item in rejections(made)] == [LEAF.thumbprint]


def unnamed(kind, content):
    text = base64.encodebytes(content.encode()).decode()
    return f"Content-Type: {kind}\nContent-Transfer-Encoding: base64\n\n{text}"


def test_a_file_without_a_name_is_unpacked(tmp_path):
    made = analyze(tmp_path, {"mail.eml": mixed(unnamed("application/octet-stream", LOG))})
    assert [display_name(item.origin) for item in rejections(made)] == ["mail.eml!application/octet-stream"]


@pytest.mark.parametrize("kind", ["application/pkcs7-mime; name=smime.p7m", "application/x-pkcs7-mime"])
def test_a_sealed_mail_is_a_loss(tmp_path, kind):
    made = analyze(tmp_path, {"mail.eml": HEADERS + "MIME-Version: 1.0\n" + unnamed(kind, "x"), "SEND.LOG": LOG})
    (loss,) = made.losses
    assert "which is not opened" in loss.reason


def test_the_signature_of_a_mail_is_no_attachment(tmp_path):
    signature = unnamed("application/pkcs7-signature; name=smime.p7s", "x")
    made = analyze(tmp_path, {"mail.eml": mixed(attached("SEND.LOG", LOG), signature)})
    assert len(rejections(made)) == 1
    assert made.losses == ()


def test_a_file_in_the_text_of_a_mail_is_a_loss(tmp_path):
    lines = [LOG.encode()[at : at + 45] for at in range(0, len(LOG), 45)]
    text = HEADERS + "\nbegin 644 SEND.LOG\n" + "".join(binascii.b2a_uu(line).decode() for line in lines) + "end\n"
    made = analyze(tmp_path, {"mail.eml": text, "SEND.LOG": send(accepted(LEAF, START, "08D50D3D9730A8D2"))})
    (loss,) = made.losses
    assert loss.reason.endswith("save them, and give the folder (SEND.LOG)")
