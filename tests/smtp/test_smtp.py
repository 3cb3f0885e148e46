"""The SMTP side: one row per format and per trap, each with a small file in the exact format.

Rows are those of ``smtp-logs`` research: real rows from public sources with the refusal put in, for no public log holds
one. Expected values are read off the rows by eye; times are UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from smtp_case import analyze, rejections

from evtx_analyzer.smtp.replies import verdict_of
from samples.cases import KB_TIME, LEAF
from samples.smtp import FRONT_END, W3C_HEADER, SendSession, iis_session
from samples.smtp import send_log as made_log

FIELDS = "date-time,connector-id,session-id,sequence-number,local-endpoint,remote-endpoint,event,data,context"
HEADER = (
    "#Software: Microsoft Exchange Server\r\n#Version: 15.0.0.0\r\n#Log-type: SMTP Send Protocol Log\r\n"
    f"#Date: 2016-12-01T03:09:55.102Z\r\n#Fields: {FIELDS}\r\n"
)
REFUSAL = "550 5.7.64 TenantAttribution; Relay Access Denied [BL2NAM02FT011.mail.protection.outlook.com]"
OK = "250 2.1.0 Sender OK"
THUMBPRINT = "EC53EBC94A796C42E5B4E5851F961874F013D94C"
REMOTE = "3A6D3C1F5E0B7D29A84C6F1B2E5D8C7A90B1F2E3"
FORM_A = [
    ("*", "", "Sending certificate"),
    ("*", '"CN=*.ServerName.com, OU=IT"', "Certificate subject"),
    ("*", '"CN=Example CA, O=Example"', "Certificate issuer name"),
    ("*", "0B6E2F5A91C47D33", "Certificate serial number"),
    ("*", THUMBPRINT, "Certificate thumbprint"),
    ("*", "*.ServerName.com;ServerName.com", "Certificate alternate names"),
    ("*", "", '"TLS protocol SP_PROT_TLS1_2_CLIENT negotiation succeeded using bulk encryption algorithm X, Y"'),
    ("*", "", "Received certificate"),
    ("*", REMOTE, "Certificate thumbprint"),
]
FORM_B = [
    (
        "*",
        f'" CN=*.ServerName.com, OU=IT CN=thawte SHA256 SSL CA, O=""thawte, Inc."", C=US 0B6E2F5A91C47D33 {THUMBPRINT} '
        '*.ServerName.com;ServerName.com"',
        "Sending certificate Certificate subject Certificate issuer name Certificate serial number "
        "Certificate thumbprint Certificate alternate names",
    ),
]
FORM_C = [
    (
        "*",
        f" CN=SERVER CN=SERVER 12DEABC6565646512346ABDC13456894 {THUMBPRINT} 2020-01-17T15:15:33.000Z "
        "2025-01-17T15:15:33.000Z SERVER;SERVER.DOMAIN.TEST",
        "Sending certificate Subject Issuer name Serial number Thumbprint Not before Not after Subject alternate names",
    ),
    (
        "*",
        f" CN=mail.protection.outlook.com CN=Cloud CA 7C1F {REMOTE} 2020-01-17T15:15:33.000Z 2025-01-17T15:15:33.000Z x",
        "Remote certificate Subject Issuer name Serial number Thumbprint Not before Not after Subject alternate names",
    ),
]
MESSAGE = ("*", "", "sending message with RecordId 167503004549 and InternetMessageId <a1@contoso.com>")
MAIL, RCPT = (">", "MAIL FROM:<a@contoso.com> SIZE=18019", ""), (">", "RCPT TO:<b@fabrikam.com>", "")
STARTTLS = [(">", "STARTTLS", ""), ("<", "220 2.0.0 SMTP server ready", "")]
REFUSED = [MESSAGE, MAIL, RCPT, ("<", OK, ""), ("<", REFUSAL, "")]


def send_rows(
    rows, *, session="08D50D3D9730A8D2", start="2016-12-01T03:09:55.{:03d}Z", remote="216.32.181.234:25", first=0
):
    """Rows of one session, 10 ms apart."""
    made = ""
    for number, (event, data, context) in enumerate(rows, first):
        quoted = f'"{data}"' if "," in data and not data.startswith('"') else data
        time = start.format(100 + 10 * number)
        made += f"{time},Outbound to Office 365,{session},{number},10.10.248.7:16547,{remote},{event},{quoted},{context}\r\n"
    return made


def send_log(rows, **options):
    return (HEADER + send_rows(rows, **options)).encode()


def told(report):
    return [
        (f"{rejection.time:%Y-%m-%dT%H:%M:%S.%f}"[:-3], rejection.rcpt_to, rejection.stage)
        for rejection in sorted(rejections(report), key=lambda rejection: (rejection.time, rejection.rcpt_to))
    ]


ONE = [("2016-12-01T03:09:55.140", "b@fabrikam.com", "RCPT")]
WHOLE = send_log(REFUSED)
CYRILLIC = "Внутренний соединитель отправки для вход. подкл. прокси-сервера"
IN_TWO = send_rows([*STARTTLS, *FORM_A]), send_rows(REFUSED, first=11)

SEND_CASES = {
    "with header": ({"a.LOG": WHOLE}, ONE),
    "without header": ({"a.txt": send_rows(REFUSED)}, ONE),
    "cut first row": ({"cut.txt": "2.1.0 OK,\r\n" + send_rows(REFUSED)}, ONE),
    "version 8 and 14": ({"a.LOG": WHOLE.replace(b"15.0.0.0", b"14.0.0.0").replace(b"Log-type", b"Log-Type")}, ONE),
    "byte order mark": ({"a.LOG": b"\xef\xbb\xbf" + WHOLE}, ONE),
    "UTF-16": ({"a.LOG": b"\xff\xfe" + WHOLE.decode().encode("utf-16-le")}, ONE),
    "Windows-1252": ({"a.LOG": WHOLE.replace(b"Outbound to", "Verbindung für".encode("cp1252"))}, ONE),
    "localized connector": ({"a.LOG": WHOLE.decode().replace("Outbound to Office 365", CYRILLIC)}, ONE),
    "mark and header in the middle": (
        {"all.log": send_log([("+", "", "")], session="08D50D3D9730A8D1") + b"\xef\xbb\xbf" + WHOLE},
        ONE,
    ),
    "tail of NULs": ({"a.LOG": WHOLE + b"\0" * 4096}, ONE),
    "session over two files": (
        {"SEND1-1.LOG": HEADER + IN_TWO[0], "SEND1-2.LOG": HEADER + IN_TWO[1]},
        [("2016-12-01T03:09:55.250", "b@fabrikam.com", "RCPT")],
    ),
    "merged copy beside its parts": ({"SEND1.LOG": WHOLE, "copy/all.log": WHOLE, "all.log": WHOLE}, ONE),
    "pipelined, the second of three refused": (
        {
            "a.LOG": send_log(
                [
                    MAIL,
                    RCPT,
                    (">", "RCPT TO:<c@fabrikam.com>", ""),
                    (">", "RCPT TO:<d@fabrikam.com>", ""),
                    ("<", OK, ""),
                    ("<", "250 2.1.5 OK", ""),
                    ("<", REFUSAL, ""),
                    ("<", "250 2.1.5 OK", ""),
                ]
            )
        },
        [("2016-12-01T03:09:55.160", "c@fabrikam.com", "RCPT")],
    ),
    "the code in the first of two lines": (
        {
            "a.LOG": send_log(
                [*REFUSED[:4], ("<", REFUSAL.replace("550 ", "550-"), ""), ("<", "550 ask postmaster", "")]
            )
        },
        ONE,
    ),
    "the code in the last of two lines": (
        {"a.LOG": send_log([*REFUSED[:4], ("<", "550-ask postmaster", ""), ("<", REFUSAL, "")])},
        [("2016-12-01T03:09:55.150", "b@fabrikam.com", "RCPT")],
    ),
    "the code in both lines": (
        {"a.LOG": send_log([*REFUSED[:4], ("<", REFUSAL.replace("550 ", "550-"), ""), ("<", REFUSAL, "")])},
        ONE,
    ),
    "cut after the first of two lines": (
        {"a.LOG": send_log([*REFUSED[:4], ("<", REFUSAL.replace("550 ", "550-"), "")])},
        ONE,
    ),
    "a recipient without brackets": (
        {"a.LOG": send_log([*REFUSED[:2], (">", "RCPT TO: b@fabrikam.com", ""), *REFUSED[3:]])},
        ONE,
    ),
    "after MAIL FROM": (
        {"a.LOG": send_log([MAIL, RCPT, ("<", REFUSAL, ""), ("<", "503 5.5.2 Need mail command", "")])},
        [("2016-12-01T03:09:55.120", "b@fabrikam.com", "MAIL")],
    ),
    "after end of data": (
        {
            "a.LOG": send_log(
                [MAIL, RCPT, (">", "BDAT 17011 LAST", ""), ("<", OK, ""), ("<", "250 2.1.5 OK", ""), ("<", REFUSAL, "")]
            )
        },
        [("2016-12-01T03:09:55.150", "b@fabrikam.com", "BDAT")],
    ),
    "after the dot of DATA": (
        {
            "a.LOG": send_log(
                [
                    MAIL,
                    ("<", OK, ""),
                    RCPT,
                    ("<", "250 2.1.5 OK", ""),
                    (">", "DATA", ""),
                    ("<", "354 Start mail input", ""),
                    ("<", REFUSAL, ""),
                ]
            )
        },
        [("2016-12-01T03:09:55.160", "b@fabrikam.com", "end of data")],
    ),
    "a reply of two lines is one": (
        {"a.LOG": send_log([*REFUSED[:4], ("<", "550-5.7.64 TenantAttribution", ""), ("<", "550 5.7.64 Denied", "")])},
        ONE,
    ),
    "address, version and longer code": (
        {
            "a.LOG": send_log(
                [
                    *REFUSED[:4],
                    ("<", "550 5.7.640 no", ""),
                    (">", "RCPT TO:<c@x.de>", ""),
                    ("<", "550 5.7.1 Service unavailable; client [195.35.7.64] blocked", ""),
                    (">", "RCPT TO:<d@x.de>", ""),
                    ("<", "550 15.7.64 build 15.7.64", ""),
                ]
            )
        },
        [],
    ),
    "Receive log: this server said it": (
        {"RECV.LOG": WHOLE.replace(b"Send Protocol", b"Receive Protocol").replace(b",<,550", b",>,550")},
        [],
    ),
    "Receive log without header": (
        {
            "RECV.txt": send_rows(REFUSED)
            .replace("Outbound to Office 365", "EX01\\Default EX01")
            .replace(",<,550", ",>,550")
        },
        [],
    ),
}


@pytest.mark.parametrize(("files", "expected"), SEND_CASES.values(), ids=SEND_CASES.keys())
def test_refusals_of_send_logs(tmp_path, files, expected):
    report = analyze(tmp_path, files)
    assert told(report) == expected
    assert [loss.reason for loss in report.losses] == ["a row is cut or damaged"] * ("cut.txt" in files)


def test_the_last_row_cut_inside_quotes_is_a_loss_and_still_shows_the_code(tmp_path):
    text = send_rows(REFUSED[:4]) + send_rows([("<", '"550 5.7.64 TenantAttribution; Relay, Acc', "")], first=4)[:-3]
    report = analyze(tmp_path, {"a.LOG": HEADER + text})
    assert told(report) == ONE
    assert [loss.origin.line for loss in report.losses] == [10]
    assert rejections(report)[0].reply == "550 5.7.64 TenantAttribution; Relay, Acc"


CERTIFICATES = {
    "A": (FORM_A, "CN=*.ServerName.com, OU=IT", "CN=Example CA, O=Example", REMOTE, None),
    "B": (FORM_B, "CN=*.ServerName.com, OU=IT", 'CN=thawte SHA256 SSL CA, O="thawte, Inc.", C=US', "", None),
    "C": (FORM_C, "CN=SERVER", "CN=SERVER", REMOTE, datetime(2025, 1, 17, 15, 15, 33, tzinfo=UTC)),
}


@pytest.mark.parametrize(("form", "subject", "issuer", "received", "until"), CERTIFICATES.values(), ids=CERTIFICATES)
def test_certificates_sent_and_received_are_told_apart(tmp_path, form, subject, issuer, received, until):
    (found,) = rejections(analyze(tmp_path, {"a.LOG": send_log([*STARTTLS, *form, *REFUSED])}))
    assert (found.sent.thumbprint, found.sent.subject, found.sent.issuer) == (THUMBPRINT, subject, issuer)
    assert found.sent.not_after == until
    assert (found.received.thumbprint if found.received else "") == received
    assert f"{found.handshake_time:%H:%M:%S.%f}" == "03:09:55.120000"
    assert found.starttls


def test_what_the_reply_and_the_session_tell_is_kept(tmp_path):
    reply = "550 5.7.64 TenantAttribution; Relay Access Denied  mail.contoso.com is untrustedroot. "
    reply += "[AM0PR01MB1234.eurprd01.prod.outlook.com 2016-12-01T03:09:54.940Z 08DD3FA5DBC8F401]"
    hello = ("<", "250  BL2NAM02FT011.mail.protection.outlook.com Hello [203.0.113.7] SIZE 157286400 PIPELINING", "")
    rows = [(">", "EHLO mail.contoso.com", ""), hello, *REFUSED[:4], ("<", reply, "")]
    (found,) = rejections(analyze(tmp_path, {"a.LOG": send_log(rows)}))
    assert found.untrusted_root_hint
    assert found.attribution == "TenantAttribution"
    assert found.remote_host == "AM0PR01MB1234.eurprd01.prod.outlook.com"
    assert found.remote_clock == datetime(2016, 12, 1, 3, 9, 54, 940000, tzinfo=UTC)
    assert found.seen_address == "203.0.113.7"
    assert (found.helo, found.mail_from, found.message_id) == ("mail.contoso.com", "a@contoso.com", "<a1@contoso.com>")
    assert not found.starttls
    assert found.handshake_time is None


def test_attr36_is_5_7_64_without_the_phrase(tmp_path):
    reply = "550 5.7.64 Relay Access Denied ATTR36. For more information, see KB 3169958"
    (found,) = rejections(analyze(tmp_path, {"a.LOG": send_log([*REFUSED[:4], ("<", reply, "")])}))
    assert found.attribution == "ATTR36"


def test_each_refusal_belongs_to_the_message_of_its_own_transaction(tmp_path):
    second = ("*", "", "sending message with RecordId 5 and InternetMessageId <a2@contoso.com>")
    accepted = [("<", OK, ""), ("<", "250 2.1.5 OK", ""), (">", "BDAT 9 LAST", ""), ("<", "250 2.6.0 Queued", "")]
    rows = [MESSAGE, MAIL, RCPT, *accepted, second, MAIL, RCPT, ("<", OK, ""), ("<", REFUSAL, "")]
    report = analyze(tmp_path, {"a.LOG": send_log(rows)})
    assert [rejection.message_id for rejection in rejections(report)] == ["<a2@contoso.com>"]
    (delivery,) = report.deliveries
    assert (delivery.sessions, delivery.accepted, delivery.refused) == (1, 1, 1)


def test_recipients_of_an_earlier_message_are_not_those_of_the_refused_one(tmp_path):
    """What the reply to the end of the data refuses is the message with all of its accepted recipients, no other."""
    other = (">", "RCPT TO:<c@fabrikam.com>", ""), (">", "RCPT TO:<d@fabrikam.com>", "")
    taken, sent = ("<", "250 2.1.5 OK", ""), (">", "BDAT 9 LAST", "")
    first = [MESSAGE, MAIL, RCPT, ("<", OK, ""), taken, sent, ("<", "250 2.6.0 Queued", "")]
    rows = [*first, MAIL, *other, ("<", OK, ""), taken, taken, sent, ("<", REFUSAL, "")]
    (refused,) = rejections(analyze(tmp_path, {"a.LOG": send_log(rows)}))
    assert refused.rcpt_to == "c@fabrikam.com; d@fabrikam.com"


def test_failed_tls_negotiations_are_other_errors_and_counted_in_the_history(tmp_path):
    rows = [*STARTTLS, ("*", "", "TLS negotiation failed with error UnknownCredentials"), ("-", "", "Local")]
    plain = send_rows(REFUSED, session="08D50D3D9730A8D3", start="2016-12-01T03:09:57.{:03d}Z")
    report = analyze(tmp_path, {"a.LOG": send_log(rows).decode() + plain})
    assert [(other_error.code, other_error.count) for other_error in report.other_errors] == [
        ("TLS negotiation failed UnknownCredentials", 1)
    ]
    (delivery,) = report.deliveries
    assert (delivery.tls_failures, delivery.tls_error) == (1, "UnknownCredentials")


@pytest.mark.parametrize("errors", [("NoCredentials", "UnknownCredentials"), ("UnknownCredentials", "NoCredentials")])
def test_the_history_names_the_error_of_the_last_negotiation_that_failed(tmp_path, errors):
    text = HEADER
    for number, error in enumerate(errors):
        rows = [*STARTTLS, ("*", "", f"TLS negotiation failed with error {error}"), ("-", "", "Local")]
        text += send_rows(rows, session=f"08D50D3D9730A8D{number}", start=f"2016-12-01T03:0{number}:55.{{:03d}}Z")
    (delivery,) = analyze(tmp_path, {"a.LOG": text + send_rows(REFUSED)}).deliveries
    assert (delivery.tls_failures, delivery.tls_error) == (2, errors[1])
    assert [f"{time:%H:%M:%S}" for time in (delivery.first_tls_failure, delivery.last_tls_failure)] == [
        "03:00:55",
        "03:01:55",
    ]


LOOK_ALIKES = {
    "451 4.4.62 Mail sent to the wrong Office 365 region. ATTR35 [x.prod.outlook.com]": ("451 4.4.62", "ATTR35", True),
    "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)": ("550 5.4.1", "", True),
    "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail": ("530 5.7.57", "", True),
    "550 5.7.640 something": ("550 5.7.640", "", True),
    "452 4.2.2 mailbox full": ("452 4.2.2", "", False),
}


@pytest.mark.parametrize(("reply", "expected"), LOOK_ALIKES.items(), ids=[code for code, *_ in LOOK_ALIKES.values()])
def test_look_alikes_are_listed_and_not_counted(tmp_path, reply, expected):
    report = analyze(tmp_path, {"a.LOG": send_log([*REFUSED[:4], ("<", reply, "")])})
    (found,) = report.other_errors
    assert (found.code, found.attribution, bool(found.meaning)) == expected
    assert (found.count, found.text, found.origin.line) == (1, reply, 10)
    assert report.rejection_count == 0


def test_a_proxied_message_is_one_rejection_of_the_session_that_leaves(tmp_path):
    hub = send_rows(REFUSED, remote="10.10.248.7:717")
    front = send_rows(
        [*STARTTLS, *FORM_A, *REFUSED[1:]], session="08D50D3D9730FFFF", start="2016-12-01T03:09:55.{:03d}Z"
    )
    report = analyze(tmp_path, {"Hub/SEND1.LOG": HEADER + hub, "FrontEnd/SEND1.LOG": HEADER + front})
    (found,) = rejections(report)
    assert [origin.source for origin in found.origins] == ["FrontEnd/SEND1.LOG", "Hub/SEND1.LOG"]
    assert found.sent.thumbprint == THUMBPRINT
    assert found.message_id == "<a1@contoso.com>"


@pytest.mark.parametrize(("port", "is_seen"), [(25, True), (717, False)])
def test_what_a_session_with_the_front_end_shows_is_not_what_exchange_online_saw(tmp_path, port, is_seen):
    """Port 717 is the front end's: its certificate, its banner and its TLS are those of the own organization."""
    greeted = [("<", "220 FE01.contoso.com Microsoft ESMTP", ""), (">", "EHLO HUB01.contoso.com", "")]
    hello = [("<", "250 FE01.contoso.com Hello [10.10.248.8] SIZE 37748736 PIPELINING", "")]
    rows = [*greeted, *hello, *STARTTLS, *FORM_A, *REFUSED]
    (found,) = rejections(analyze(tmp_path, {"a.LOG": send_log(rows, remote=f"10.10.248.7:{port}")}))
    assert (found.reply, found.mail_from, found.rcpt_to) == (REFUSAL, "a@contoso.com", "b@fabrikam.com")
    shown = bool(found.sent), bool(found.received), bool(found.tls), found.starttls, found.from_start
    names = bool(found.helo), bool(found.remote_name), bool(found.seen_address), bool(found.ehlo)
    assert {*shown, *names} == {is_seen}


# ------------------------------------------------------------------------------------------------------- IIS SMTP

W3C = (
    "#Software: Microsoft Internet Information Services 8.5\r\n#Version: 1.0\r\n#Date: 2016-12-01 03:09:54\r\n"
    "#Fields: date time c-ip cs-username s-sitename s-computername s-ip s-port cs-method cs-uri-stem cs-uri-query "
    "sc-status sc-win32-status sc-bytes cs-bytes time-taken cs-version cs-host cs(User-Agent) cs(Cookie) cs(Referer) \r\n"
)
ANSWER = "550+5.7.64+TenantAttribution;+Relay+Access+Denied+[BL2NAM02FT011.mail.protection.outlook.com]"


def w3c_row(time, direction, method, query, taken, remote="216.32.181.234", port=25):
    name = {">": "OutboundConnectionCommand", "<": "OutboundConnectionResponse"}[direction]
    return f"{time} {remote} {name} SMTPSVC1 CORP-SMTP1 - {port} {method} - {query} 0 0 88 0 {taken} SMTP - - - -\r\n"


def w3c_session(date="2016-12-01 ", port=25):
    return "".join(
        w3c_row(f"{date}03:09:{second}", direction, method, query, taken, port=port)
        for second, direction, method, query, taken in (
            (54, "<", "-", "220+BL2NAM02FT011.mail.protection.outlook.com+Microsoft+ESMTP+MAIL+Service", 94),
            (54, ">", "EHLO", "CORP-SMTP1.ServerName.com", 94),
            (55, ">", "STARTTLS", "-", 188),
            (55, "<", "-", "220+2.0.0+SMTP+server+ready", 281),
            (55, ">", "EHLO", "CORP-SMTP1.ServerName.com", 437),
            (55, ">", "MAIL", "FROM:<a@servername.com>+SIZE=1722", 531),
            (56, "<", "-", "250+2.1.0+Sender+OK", 620),
            (56, ">", "RCPT", "TO:<b@fabrikam.com>", 625),
            (56, "<", "-", ANSWER, 719),
            (56, ">", "QUIT", "-", 719),
        )
    )


IIS_ROWS = (
    "216.32.181.234, OutboundConnectionResponse, {date}, 9:47:02, SMTPSVC1, CORP-SMTP1, -, 47, 0, 114, 0, 0, -, -, "
    "220 mail.example.org Microsoft ESMTP MAIL Service, Version: 5.0.2195.6713 ready at {ready} ,\r\n"
    "216.32.181.234, OutboundConnectionCommand, {date}, 9:47:02, SMTPSVC1, CORP-SMTP1, -, 60, 0, 4, 0, 0, MAIL, -, "
    "FROM:<a@servername.com> ,\r\n"
    "216.32.181.234, OutboundConnectionResponse, {date}, 9:47:02, SMTPSVC1, CORP-SMTP1, -, 70, 0, 4, 0, 0, -, -, "
    "250 2.1.0 Sender OK ,\r\n"
    "216.32.181.234, OutboundConnectionCommand, {date}, 9:47:03, SMTPSVC1, CORP-SMTP1, -, 80, 0, 4, 0, 0, RCPT, -, "
    "TO:<b@fabrikam.com> ,\r\n"
    "216.32.181.234, OutboundConnectionResponse, {date}, 9:47:03, SMTPSVC1, CORP-SMTP1, -, 90, 0, 4, 0, 0, -, -, "
    "550 5.7.64 TenantAttribution; Relay, Access Denied ,\r\n"
)
READY = "Fri, 03 Apr 2009 07:47:02 +0000"
NCSA_ROWS = (
    '216.32.181.234 - OutboundConnectionCommand [11/Oct/2006:13:17:02 -0600] "MAIL -?FROM:<a@b.com> SMTP" 0 4\r\n'
    '216.32.181.234 - OutboundConnectionResponse [11/Oct/2006:13:17:02 -0600] "- -?250+OK+WITH+"."+ON SMTP" 0 6\r\n'
    '216.32.181.234 - OutboundConnectionCommand [11/Oct/2006:13:17:03 -0600] "RCPT -?TO:<b@fabrikam.com> SMTP" 0 4\r\n'
    f'216.32.181.234 - OutboundConnectionResponse [11/Oct/2006:13:17:03 -0600] "- -?{ANSWER} SMTP" 0 4\r\n'
)
ODBC_ROWS = (
    '"ClientHost";"Username";"LogTime";"Service";"Machine";"ServerIP";"ProcessingTime";"Operation";"Target";"Parameters"\r\n'
    '"1.2.3.4";"OutboundConnectionCommand";"2016-12-01 04:09:56";"SMTPSVC1";"CORP-SMTP1";"-";"80";"RCPT";"-";"TO:<b@fabrikam.com>"\r\n'
    '"1.2.3.4";"OutboundConnectionResponse";"2016-12-01 04:09:56";"SMTPSVC1";"CORP-SMTP1";"-";"90";"-";"-";'
    '"550 5.7.64 TenantAttribution; Relay Access Denied"\r\n'
)
BERLIN = {"tz": "Europe/Berlin"}
NO_DATE = W3C.replace("#Fields: date time", "#Fields: time")
MIDNIGHT = (
    NO_DATE.replace("03:09:54", "23:59:58")
    + w3c_row("23:59:59", ">", "RCPT", "TO:<b@fabrikam.com>", 80)
    + w3c_row("00:00:00", "<", "-", ANSWER, 990)
)
FEWER = "#Fields: date time c-ip cs-username cs-method cs-uri-query\r\n" + (
    "2016-12-01 03:10:01 1.2.3.4 OutboundConnectionCommand RCPT TO:<c@fabrikam.com>\r\n"
    f"2016-12-01 03:10:02 1.2.3.4 OutboundConnectionResponse - {ANSWER}\r\n"
)
IIS_CASES = {
    # name: files, options, (time, host, recipient, basis of the time)
    "W3C": (
        {"ex161201.log": W3C + w3c_session()},
        {},
        [("2016-12-01T03:09:56", "CORP-SMTP1", "b@fabrikam.com", "utc")],
    ),
    "port 0": (
        {"ex161201.log": W3C + w3c_session(port=0)},
        {},
        [("2016-12-01T03:09:56", "CORP-SMTP1", "b@fabrikam.com", "utc")],
    ),
    "other fields in the middle": (
        {"ex161201.log": W3C + w3c_session() + W3C + FEWER},
        {},
        [
            ("2016-12-01T03:09:56", "CORP-SMTP1", "b@fabrikam.com", "utc"),
            ("2016-12-01T03:10:02", "CORP-SMTP1", "c@fabrikam.com", "utc"),
        ],
    ),
    "no date, over midnight": (
        {"ex161201.log": MIDNIGHT},
        {},
        [("2016-12-02T00:00:00", "CORP-SMTP1", "b@fabrikam.com", "utc")],
    ),
    "IIS, month first by name": (
        {"in090403.log": IIS_ROWS.format(date="4/3/2009", ready=READY)},
        BERLIN,
        [("2009-04-03T07:47:03", "CORP-SMTP1", "b@fabrikam.com", "zone")],
    ),
    "IIS, day first by name": (
        {
            "in090304.log": IIS_ROWS.format(
                date="4/3/2009", ready=READY.replace("03 Apr", "04 Mar").replace("07:", "08:")
            )
        },
        BERLIN,
        [("2009-03-04T08:47:03", "CORP-SMTP1", "b@fabrikam.com", "zone")],
    ),
    "IIS, German": (
        {"renamed.txt": IIS_ROWS.format(date="03.04.2009", ready=READY)},
        BERLIN,
        [("2009-04-03T07:47:03", "CORP-SMTP1", "b@fabrikam.com", "zone")],
    ),
    "IIS, no zone": (
        {"in090403.log": IIS_ROWS.format(date="4/3/2009", ready="")},
        {},
        [("2009-04-03T09:47:03", "CORP-SMTP1", "b@fabrikam.com", "unknown")],
    ),
    "IIS, day and month not told": (
        {"renamed.log": IIS_ROWS.format(date="4/3/2009", ready="")},
        BERLIN,
        [("2009-04-03T09:47:03", "CORP-SMTP1", "b@fabrikam.com", "unknown")],
    ),
    "NCSA": ({"nc061011.log": NCSA_ROWS}, {}, [("2006-10-11T19:17:03", "", "b@fabrikam.com", "utc")]),
    "ODBC": ({"odbc.csv": ODBC_ROWS}, BERLIN, [("2016-12-01T03:09:56", "CORP-SMTP1", "b@fabrikam.com", "zone")]),
    "ODBC, columns in lower case as of PostgreSQL": (
        {
            "odbc.csv": ODBC_ROWS.replace("2016-12-01", "01.12.2016")
            .replace('"LogTime"', '"logtime"')
            .replace("Host", "host")
        },
        BERLIN,
        [("2016-12-01T03:09:56", "CORP-SMTP1", "b@fabrikam.com", "zone")],
    ),
}


@pytest.mark.parametrize(
    ("files", "options", "expected"),
    IIS_CASES.values(),
    ids=IIS_CASES.keys(),
)
def test_refusals_of_iis_logs(tmp_path, files, options, expected):
    report = analyze(tmp_path, files, **options)
    found = [(f"{i.time:%Y-%m-%dT%H:%M:%S}", i.host, i.rcpt_to, i.time_basis) for i in rejections(report)]
    assert sorted(found) == expected
    assert not report.losses
    assert all(rejection.resolution == 1 for rejection in rejections(report))


def test_plus_is_a_blank_and_starttls_is_seen(tmp_path):
    (found,) = rejections(analyze(tmp_path, {"ex161201.log": W3C + w3c_session()}))
    assert found.reply == REFUSAL
    assert found.starttls
    assert found.mail_from == "a@servername.com"
    assert f"{found.handshake_time:%H:%M:%S}" == "03:09:55"
    assert found.sent is None


def test_text_of_the_iis_format_keeps_its_commas(tmp_path):
    (found,) = rejections(analyze(tmp_path, {"in090403.log": IIS_ROWS.format(date="4/3/2009", ready=READY)}, **BERLIN))
    assert found.reply == "550 5.7.64 TenantAttribution; Relay, Access Denied"
    assert found.remote_name == "mail.example.org"


def test_rows_without_time_are_evidence_that_is_paired_with_nothing(tmp_path):
    files = {"ex161201.log": W3C.replace("date time c-ip", "c-ip")}
    files["ex161201.log"] += "".join(line.partition(" ")[2] + "\r\n" for line in w3c_session(date="").splitlines())
    report = analyze(tmp_path, files)
    (found,) = rejections(report)
    assert (found.rcpt_to, found.time_basis) == ("b@fabrikam.com", "heading")
    assert "not paired" in report.coverage[0].notes[0]


def test_connections_to_one_address_are_told_apart_by_time_taken(tmp_path):
    rows = [
        ("03:00:10", ">", "MAIL", "FROM:<one@a.com>", 1000),  # connected at 03:00:09
        ("03:00:10", ">", "MAIL", "FROM:<two@a.com>", 5000),  # connected at 03:00:05
        ("03:00:11", "<", "-", "250+2.1.0+Sender+OK", 6000),
        ("03:00:11", "<", "-", "250+2.1.0+Sender+OK", 2000),
        ("03:00:11", ">", "RCPT", "TO:<to-two@b.com>", 6100),
        ("03:00:11", ">", "RCPT", "TO:<to-one@b.com>", 2100),
        ("03:00:12", "<", "-", ANSWER, 3000),
        ("03:00:12", "<", "-", "250+2.1.5+OK", 7000),
    ]
    text = W3C + "".join(w3c_row(f"2016-12-01 {time}", *rest) for time, *rest in rows)
    (found,) = rejections(analyze(tmp_path, {"ex161201.log": text}))
    assert (found.mail_from, found.rcpt_to) == ("one@a.com", "to-one@b.com")


# --------------------------------------------------------------------------------------------------- local time


def iis_at(date, clock, ready=""):
    return IIS_ROWS.format(date=date, ready=ready).replace("9:47", clock)


def test_the_repeated_hour_is_ambiguous_and_both_readings_are_noted(tmp_path):
    report = analyze(tmp_path, {"in161030.log": iis_at("30.10.2016", "02:30")}, **BERLIN)
    (found,) = rejections(report)
    assert found.time_basis == "ambiguous"
    assert (found.time, found.other_time) == (
        datetime(2016, 10, 30, 0, 30, 3, tzinfo=UTC),
        datetime(2016, 10, 30, 1, 30, 3, tzinfo=UTC),
    )
    assert "daylight saving" in report.coverage[0].notes[0]


def test_the_banner_settles_the_repeated_hour(tmp_path):
    ready = "Sun, 30 Oct 2016 01:30:02 +0000"
    (found,) = rejections(analyze(tmp_path, {"in161030.log": iis_at("30.10.2016", "02:30", ready)}, **BERLIN))
    assert (found.time_basis, found.time) == ("zone", datetime(2016, 10, 30, 1, 30, 3, tzinfo=UTC))


def test_an_hour_that_the_zone_skips_is_not_known(tmp_path):
    (found,) = rejections(analyze(tmp_path, {"in160327.log": iis_at("27.03.2016", "02:30")}, **BERLIN))
    assert found.time_basis == "unknown"


def test_whole_hours_beside_the_remote_clock_are_a_wrong_zone(tmp_path):
    report = analyze(tmp_path, {"in090403.log": IIS_ROWS.format(date="4/3/2009", ready=READY)}, tz="UTC")
    assert "2 hours ahead" in report.coverage[0].notes[0]
    assert [clock.seconds for clock in report.clocks] == [7200]


def test_a_wrong_zone_is_not_paired(tmp_path):
    report = analyze(tmp_path, {"in090403.log": IIS_ROWS.format(date="4/3/2009", ready=READY)}, tz="Europe/London")
    (found,) = rejections(report)
    assert found.time_basis == "wrong-zone"


def test_clock_skew_is_said_and_nothing_is_shifted(tmp_path):
    banner = (
        "<",
        '"220 X.mail.protection.outlook.com Microsoft ESMTP MAIL Service ready at Thu, 1 Dec 2016 03:09:43 +0000"',
        "",
    )
    report = analyze(tmp_path, {"a.LOG": send_log([banner, *REFUSED])})
    assert told(report) == [("2016-12-01T03:09:55.150", "b@fabrikam.com", "RCPT")]
    assert [(clock.source, clock.seconds) for clock in report.clocks] == [("banner", 12.1)]
    assert "12.1 s ahead" in report.coverage[0].notes[0]


@pytest.mark.parametrize("row", ["1,2", "0001-01-01 00:00:00 x", "9" * 30], ids=["cut", "before all clocks", "digits"])
def test_numbers_out_of_range_are_told_and_never_raised(tmp_path, row):
    text = W3C + w3c_session() + w3c_row("0001-01-01 00:00:00", "<", "-", ANSWER, "9" * 30) + row + "\r\n"
    report = analyze(tmp_path, {"ex161201.log": text, "s.LOG": WHOLE + row.encode()})
    assert report.rejection_count == 2
    assert {loss.origin.source for loss in report.losses} == {"ex161201.log", "s.LOG"}


def test_an_unknown_zone_is_refused_in_one_line(tmp_path):
    with pytest.raises(Exception, match=r"--tz Mars/Base: no such time zone; expected an IANA name"):
        analyze(tmp_path, {"a.LOG": WHOLE}, tz="Mars/Base")


def test_connections_of_one_second_are_told_apart_by_what_they_wait_for(tmp_path):
    rows = [
        ("03:00:10", ">", "MAIL", "FROM:<one@a.com>", 100),
        ("03:00:10", ">", "MAIL", "FROM:<two@a.com>", 700),  # begun in the second before
        ("03:00:10", "<", "-", "250+2.1.0+Sender+OK", 200),
        ("03:00:10", ">", "RCPT", "TO:<to-one@b.com>", 210),
        ("03:00:10", "<", "-", "250+2.1.0+Sender+OK", 810),
        ("03:00:10", "<", "-", ANSWER, 300),
        ("03:00:10", ">", "RCPT", "TO:<to-two@b.com>", 820),
        ("03:00:10", "<", "-", "250+2.1.5+OK", 910),
    ]
    text = W3C + "".join(w3c_row(f"2016-12-01 {time}", *rest) for time, *rest in rows)
    (found,) = rejections(analyze(tmp_path, {"ex161201.log": text}))
    assert (found.mail_from, found.rcpt_to) == ("one@a.com", "to-one@b.com")


# ------------------------------------------------------- what the reply says of the certificate that arrived

DENIED = "550 5.7.64 TenantAttribution; Relay Access Denied"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # as printed in learn.microsoft.com/answers/questions/2276469
        (f"{DENIED}  app01 is untrustedroot.", ("app01", "untrustedroot")),
        (f"{DENIED} app01 is untrustedroot", ("app01", "untrustedroot")),
        (f"{DENIED}. APP01 is UntrustedRoot.", ("APP01", "untrustedroot")),
        (f"{DENIED.replace(' ', '+')}+ app01+is+untrustedroot.", ("app01", "untrustedroot")),
        (
            f"{DENIED} mail.eu.contoso.com is expired. [AM0PR01MB1234.eurprd01.prod.outlook.com]",
            ("mail.eu.contoso.com", "expired"),
        ),
        (f"{DENIED} [AM0PR01MB1234.eurprd01.prod.outlook.com] app01 is revoked", ("app01", "revoked")),
        (
            f"{DENIED} *.contoso.com is untrustedroot [x.outlook.com 2026-03-10T08:14:02.823Z 08DE]",
            ("*.contoso.com", "untrustedroot"),
        ),
        (f"{DENIED} CN=mail_01.contoso.com is not trusted.", ("mail_01.contoso.com", "not trusted")),
        (f"{DENIED} ATTR36 app-01 is partialchain.", ("app-01", "partialchain")),
        (f"{DENIED} [AM0PR01MB1234.eurprd01.prod.outlook.com]", None),
        (f"{DENIED} ATTR36. For more information, see KB 3169958", None),
        (f"{DENIED}. Your tenant is blocked because its connector is wrong", None),
        (f"{DENIED} app01 is untrustedroot because of its chain", None),
        ("550 5.7.1 Relay Access Denied app01 is untrustedroot.", None),
        ("250 2.1.0 Sender OK", None),
    ],
)
def test_the_verdict_in_a_reply(text, expected):
    reply_verdict = verdict_of(text)
    assert (reply_verdict and (reply_verdict.name, reply_verdict.verdict)) == expected


@pytest.mark.parametrize(
    "files",
    [
        {"SEND.LOG": WHOLE.replace(REFUSAL.encode(), f"{DENIED}  app01 is untrustedroot.".encode())},
        {"ex161201.log": W3C + w3c_session().replace(ANSWER, f"{DENIED}  app01 is untrustedroot.".replace(" ", "+"))},
    ],
    ids=["Send connector", "IIS"],
)
def test_the_verdict_stands_with_the_refusal(tmp_path, files):
    (found,) = rejections(analyze(tmp_path, files))
    assert (found.certificate_name, found.certificate_verdict) == ("app01", "untrustedroot")
    assert found.untrusted_root_hint


def test_a_date_whose_day_is_its_month_is_paired_whatever_the_file_is_called(tmp_path):
    files = {"smtp-old.log": IIS_ROWS.format(date="3/3/2026", ready="Tue, 3 Mar 2026 08:47:02 +0000")}
    (found,) = rejections(analyze(tmp_path, files, **BERLIN))
    assert (found.time_basis, f"{found.time:%Y-%m-%dT%H:%M}") == ("zone", "2026-03-03T08:47")


def test_an_address_with_a_plus_sign_keeps_its_domain(tmp_path):
    """IIS writes a plus sign for every blank, and cannot write another one for a plus sign."""
    rows = [
        (0, "<", "", f"220 {FRONT_END} Microsoft ESMTP"),
        (1, ">", "EHLO", "app01.contoso.com"),
        (2, "<", "", f"250-{FRONT_END} Hello [203.0.113.9]"),
        (3, ">", "MAIL", "FROM:<shop+orders@contoso.com> SIZE=1"),
        (4, "<", "", "250 2.1.0 Sender OK"),
        (5, ">", "RCPT", "TO:<b+news@fabrikam.com>"),
        (6, "<", "", "550 5.7.64 TenantAttribution; Relay Access Denied"),
    ]
    log = W3C_HEADER.format(date="2016-12-01 03:09:55") + iis_session(KB_TIME, "APP01", rows)
    report = analyze(tmp_path, {"ex.log": log})
    (refusal,) = rejections(report)
    assert (refusal.mail_from, refusal.rcpt_to) == ("shop+orders@contoso.com", "b+news@fabrikam.com")


def test_only_the_last_chunk_of_a_message_is_its_acceptance(tmp_path):
    made = SendSession(KB_TIME, "08D50D3D00000001").connect().starttls(LEAF)
    made.add(700, ">", "MAIL FROM:<a@contoso.com>").add(701, ">", "RCPT TO:<b@fabrikam.com>")
    made.add(710, "<", "250 2.1.0 Sender OK").add(711, "<", "250 2.1.5 Recipient OK")
    made.add(712, ">", "BDAT 100").add(720, "<", "250 2.0.0 100 octets received")
    made.add(721, ">", "BDAT 50 LAST").add(730, "<", "250 2.6.0 Queued mail for delivery").quit(800)
    report = analyze(tmp_path, {"SEND.LOG": made_log([made])}, anyway=True)
    assert [(delivery.accepted, delivery.accepted_outside) for delivery in report.deliveries] == [(1, 1)]
