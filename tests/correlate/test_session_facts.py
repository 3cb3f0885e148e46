"""What one refused session shows, and above all what it does not: absence counts only where it would have been seen."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from evidence import HANDSHAKE, OWN, operation, rejection
from examples import examples
from faults import FAULTS, inbound
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from smtp_case import analyze, rejections, rules
from worlds import EHLO, SEND_FORMS, certificate, completed, files, world

import evtx_analyzer as ea
from evtx_analyzer.correlate.case_facts import CaseFacts
from evtx_analyzer.correlate.operation_facts import operation_facts
from evtx_analyzer.correlate.session_facts import session_facts
from evtx_analyzer.model.certificate import Certificate, ChainElement
from evtx_analyzer.model.events import Setting
from evtx_analyzer.model.evidence import Context
from evtx_analyzer.model.origin import Origin

RANK = {"probable": 4, "possible": 3, "coincident": 2, "contradicted": 1, "no-evidence": 0}
NOT_DONE = ("no-client-certificate", "starttls-not-offered")


def facts(made=None, **beside):
    return session_facts(made or rejection(), CaseFacts(**beside))


def refused(name, form, seed=0):
    """A world with a fault, its log as lines, and the name of the log."""
    made = world(seed, form)
    FAULTS[name].apply(made)
    written = files(completed(made))
    log = "ex260310.log" if form == "iis" else "SEND.LOG"
    return written, log, written[log].splitlines(keepends=True)


def findings(folder, written):
    for name, content in written.items():
        (folder / name).write_text(content, encoding="utf-8", newline="")
    report = ea.analyze(folder, rules=rules())
    return report, {finding.cause: finding.grade for finding in report.findings}


def is_refusal(line):
    return "5.7.64" in line


def sessions_of(lines):
    """Places of the rows of each session up to its refusal, header rows aside."""
    places = {}
    for number, line in enumerate(lines):
        if not line.startswith("#"):
            places.setdefault(line.split(",")[2], []).append(number)
    found = []
    for rows in places.values():
        end = next((at for at, row in enumerate(rows) if is_refusal(lines[row])), None)
        if end is not None:
            found.append(rows[:end])
    return found


# ------------------------------------------------------------------------------------------- excerpts, filtered logs


@pytest.mark.parametrize("form", SEND_FORMS)
@pytest.mark.parametrize("name", ["missing_intermediate", "no_certificate", "starttls_masked", "starttls_not_offered"])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=examples(8))
def test_rows_that_are_missing_are_never_taken_for_what_was_not_done(tmp_path_factory, name, form, seed):
    """Removing any rows of every refused session proves nothing of TLS, and nothing against a broken chain."""
    chance = random.Random(seed)
    written, log, lines = refused(name, form, seed % 24)
    gone = set()
    for rows in sessions_of(lines):
        gone |= set(chance.sample(rows, chance.randrange(1, len(rows) + 1)))
    written[log] = "".join(line for number, line in enumerate(lines) if number not in gone)
    report, named = findings(tmp_path_factory.mktemp("case"), written)
    assert report.rejection_count == 2
    assert all(RANK[named.get(cause, "no-evidence")] < RANK["possible"] for cause in NOT_DONE)
    if name == "missing_intermediate":
        assert named["missing-intermediate"] != "contradicted"


@pytest.mark.parametrize("form", SEND_FORMS)
def test_an_excerpt_that_begins_at_any_row(tmp_path_factory, form):
    written, log, lines = refused("missing_intermediate", form)
    rows = sessions_of(lines)
    for begin in range(1, max(map(len, rows))):
        gone = {row for session in rows for row in session[:begin]}
        written[log] = "".join(line for number, line in enumerate(lines) if number not in gone)
        _, named = findings(tmp_path_factory.mktemp("case"), written)
        assert all(RANK[named.get(cause, "no-evidence")] < RANK["possible"] for cause in NOT_DONE), begin
        # Without the row of MAIL no domain ties the check to this server: near in time, and no more.
        shown = any("MAIL FROM" in lines[row] and row not in gone for row in rows[0])
        assert named["missing-intermediate"] in (("possible", "probable") if shown else ("coincident",)), begin


@pytest.mark.parametrize("form", SEND_FORMS)
def test_rows_behind_the_refusal_are_not_needed(tmp_path, form):
    written, log, lines = refused("no_certificate", form)
    kept = []
    for number, line in enumerate(lines):
        if line.startswith("#") or any(number in rows for rows in sessions_of(lines)) or is_refusal(line):
            kept.append(line)
    written[log] = "".join(kept)
    assert findings(tmp_path, written)[1]["no-client-certificate"] == "probable"


@pytest.mark.parametrize("cut", [1, 9, 15, 20])
def test_a_session_in_two_files_is_whole(tmp_path, cut):
    written, log, lines = refused("no_certificate", "B")
    head = [line for line in lines if line.startswith("#")]
    rows = [line for line in lines if not line.startswith("#")]
    del written[log]
    written["SEND2026031008-1.LOG"] = "".join(head + rows[:cut])
    written["SEND2026031008-2.LOG"] = "".join(head + rows[cut:])
    assert findings(tmp_path, written)[1]["no-client-certificate"] == "probable"


IIS_WORDS = {
    "commands only": lambda text: "OutboundConnectionCommand" in text,
    "answers only": lambda text: "OutboundConnectionResponse" in text,
    "without what speaks of TLS": lambda text: "STARTTLS" not in text and "220+2.0.0" not in text,
    "MAIL, RCPT and failures": lambda text: any(word in text for word in (" MAIL ", " RCPT ", "+250", "550+")),
    "failures": lambda text: "550+" in text,
}


@pytest.mark.parametrize("kept", IIS_WORDS.values(), ids=IIS_WORDS)
def test_an_iis_log_that_was_filtered_by_words(tmp_path, kept):
    written, log, lines = refused("missing_intermediate", "iis")
    written[log] = "".join(line for line in lines if line.startswith("#") or is_refusal(line) or kept(line))
    _, named = findings(tmp_path, written)
    assert all(RANK[named.get(cause, "no-evidence")] < RANK["possible"] for cause in (*NOT_DONE, "not-exchange-online"))
    assert named["missing-intermediate"] != "contradicted"


def test_an_iis_log_that_begins_at_or_lacks_any_row(tmp_path_factory):
    """Only an answer that is not written may be missing: IIS leaves some out."""
    written, log, lines = refused("missing_intermediate", "iis")
    first = [number for number, line in enumerate(lines) if not line.startswith("#")]
    end = next(number for number in first if is_refusal(lines[number]))
    begun = [set(first[:count]) for count in range(1, end - first[0] + 1)]
    single = [{number} for number in range(first[0], end)]
    for gone in (*begun, *single):
        rest = [line for number, line in enumerate(lines) if number not in gone and number <= end]
        _, named = findings(tmp_path_factory.mktemp("case"), {**written, log: "".join(rest)})
        assert all(RANK[named.get(cause, "no-evidence")] < RANK["possible"] for cause in NOT_DONE), gone


def test_an_iis_session_without_tls_that_is_whole_shows_it(tmp_path):
    written, _, _ = refused("starttls_ignored", "iis")
    assert findings(tmp_path, written)[1]["no-client-certificate"] == "probable"


@pytest.mark.parametrize("text", ["220 2.0.0 SMTP server ready", "220 2.0.0 Ready to start TLS", "220 2.0.0"])
def test_the_answer_to_starttls_names_no_remote_side(tmp_path, text):
    written, log, lines = refused("nothing_to_be_seen", "B")
    gone = {row for rows in sessions_of(lines) for row in rows[:7]}
    rest = "".join(line for number, line in enumerate(lines) if number not in gone)
    written[log] = rest.replace("220 2.0.0 SMTP server ready", text)
    report, named = findings(tmp_path, written)
    assert {rejection.remote_name for rejection in rejections(report)} == {""}
    assert named["not-exchange-online"] == "no-evidence"


# ----------------------------------------------------------------------------------------- certificates behind a gap


def test_a_thumbprint_behind_missing_rows_may_be_the_other_certificate(tmp_path):
    """Form A: without the row "Received certificate" its thumbprint stands behind the rows of the one that was sent."""
    written, log, lines = refused("nothing_to_be_seen", "A")
    sent = next(line for line in lines if line.rstrip().endswith("Certificate thumbprint")).split(",")[7]
    gone = [
        number
        for number, line in enumerate(lines)
        if line.rstrip().endswith(",Received certificate") or f",{sent},Certificate thumbprint" in line
    ]
    written[log] = "".join(line for number, line in enumerate(lines) if number not in gone)
    report, _ = findings(tmp_path, written)
    assert {rejection.sent.thumbprint for rejection in rejections(report)} == {""}


@pytest.mark.parametrize(("whole", "expected"), [(True, ("false",)), (False, None)])
def test_names_that_rows_may_be_missing_of_are_not_compared_whole(whole, expected):
    own = Certificate(thumbprint=OWN, subject="CN=smtp.contoso.com")
    made = rejection(sent=own, from_start=whole)
    connector = {"Name": "In", "ConnectorType": "OnPremises", "TlsSenderCertificateName": "mail.contoso.com"}
    exported = (Setting(origin=Origin(source="x"), cmdlet="Get-InboundConnector", values=connector),)
    assert facts(made, settings=exported).get("InboundConnector.CertificateMatches") == expected
    # What event 90 or a file shows of the certificate is whole.
    known = {OWN: replace(own, alternate_names=("smtp.contoso.com",))}
    got = facts(made, settings=exported, certificates=known)
    assert got["InboundConnector.CertificateMatches"] == ("false",)


# ------------------------------------------------------------------------------------------------- STARTTLS, the offer

PLAIN = {"sent": None, "received": None, "starttls": False, "from_start": True}


@pytest.mark.parametrize(
    ("keywords", "offer"),
    [
        (EHLO, "ignored"),
        (("SIZE", "STARTTLS"), "ignored"),
        (("SIZE", "XXXXXXXA", "DSN"), "masked"),  # Cisco ASA: the last letter stays
        (("SIZE", "XXXXXXXX"), "masked"),
        (("SIZE", "XXXX"), "masked"),
        (("SIZE", "DSN"), "not-offered"),
        (("XRDST", "XSHADOW", "SIZE"), "not-offered"),  # Exchange's own extensions are no masks
        (("X-ANONYMOUSTLS", "SIZE"), "not-offered"),
        (("XEXCH50",), "not-offered"),
    ],
)
def test_what_the_other_side_offers(keywords, offer):
    words = tuple(word.partition(" ")[0] for word in keywords)
    assert facts(rejection(ehlo=words, **PLAIN))["StartTlsOffer"] == (offer,)


@pytest.mark.parametrize(
    "changes",
    [{"from_start": False}, {"starttls": True}, {"tls": "TLS protocol SP_PROT_TLS1_2_CLIENT"}, {"ehlo": ()}],
)
def test_no_offer_where_tls_was_used_or_rows_are_missing(changes):
    assert "StartTlsOffer" not in facts(rejection(**{**PLAIN, "ehlo": ("SIZE",), **changes}))


def test_the_first_line_of_an_answer_to_ehlo_does_not_show_what_is_not_offered(tmp_path):
    """IIS writes the first line of an answer of several."""
    written, _, _ = refused("starttls_ignored", "iis")
    report, named = findings(tmp_path, written)
    assert {rejection.ehlo for rejection in rejections(report)} == {()}
    assert named["starttls-not-offered"] == "no-evidence"


ROWS = "2026-03-10T08:14:02.{:03d}Z,Outbound,08DE7F0000000001,{},10.1.2.3:4011,216.32.181.234:25,{},{},\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        ["250  x.mail.protection.outlook.com Hello [203.0.113.7] SIZE 1 DSN STARTTLS"],
        ["250-x.mail.protection.outlook.com Hello [203.0.113.7]", "250-SIZE 1", "250-DSN", "250 STARTTLS"],
    ],
    ids=["one row", "several rows"],
)
def test_keywords_in_one_row_or_in_several(tmp_path, answer):
    dialog = [("+", ""), ("<", "220 x.mail.protection.outlook.com ready"), (">", "EHLO ex01.contoso.com")]
    dialog += [("<", line) for line in answer]
    dialog += [(">", "MAIL FROM:<a@contoso.com>"), ("<", "250 2.1.0 Sender OK"), (">", "RCPT TO:<b@fabrikam.com>")]
    dialog += [("<", "550 5.7.64 TenantAttribution; Relay Access Denied [x.mail.protection.outlook.com]")]
    fields = "date-time,connector-id,session-id,sequence-number,local-endpoint,remote-endpoint,event,data,context"
    head = f"#Software: Microsoft Exchange Server\r\n#Log-type: SMTP Send Protocol Log\r\n#Fields: {fields}\r\n"
    rows = [ROWS.format(number, number, event, text) for number, (event, text) in enumerate(dialog)]
    (found,) = rejections(analyze(tmp_path, {"SEND.LOG": head + "".join(rows)}))
    assert {"SIZE", "DSN", "STARTTLS"} <= {*found.ehlo}
    assert found.from_start


# -------------------------------------------------------------------------------------------------------- null sender


@pytest.mark.parametrize(
    ("command", "expected"),
    [("MAIL FROM:<>", True), ("MAIL FROM:<> SIZE=5", True), ("MAIL FROM:<a@contoso.com>", False), (None, None)],
)
def test_no_row_of_mail_is_no_empty_sender(tmp_path, command, expected):
    written, log, lines = refused("nothing_to_be_seen", "B")
    kept = [line for line in lines if command is not None or "MAIL FROM" not in line]
    text = "".join(kept)
    if command is not None:
        sender = next(line for line in lines if "MAIL FROM" in line).split(",")[7]
        text = text.replace(sender, command)
    written[log] = text
    report, named = findings(tmp_path, written)
    assert {rejection.null_sender for rejection in rejections(report)} == {expected}
    assert (named["domain-not-accepted"] != "no-evidence") is (expected is True)


# -------------------------------------------------------------------------------------------------------- remote side

MICROSOFT, OTHER = Certificate(subject="CN=mail.protection.outlook.com"), Certificate(subject="CN=gw.contoso.com")
NAMELESS = Certificate(thumbprint="B" * 40)


@pytest.mark.parametrize(
    ("banner", "received", "remote", "expected"),
    [
        ("db8.mail.protection.outlook.com", MICROSOFT, "216.32.181.234:25", "true"),
        ("db8.mail.protection.outlook.com", NAMELESS, "216.32.181.234:25", "true"),
        ("db8.mail.protection.outlook.com", OTHER, "216.32.181.234:25", "false"),  # TLS is inspected
        ("gw.contoso.com", OTHER, "10.1.1.1:25", "false"),
        ("gw.contoso.com", None, "216.32.181.234:25", "false"),
        ("gw.contoso.com", MICROSOFT, "216.32.181.234:25", "true"),  # the certificate decides
        ("mx.fabrikam.mx.microsoft", None, "52.101.1.1:25", "true"),
        ("x.office365.us", None, "52.101.1.1:25", "true"),
        ("x.partner.outlook.cn", None, "40.73.1.1:25", "true"),
        ("outlook.com.evil.example", None, "192.0.2.1:25", "false"),
        ("****************", None, "216.32.181.234:25", None),  # masked by a firewall
        ("****************", None, "10.1.1.1:25", "false"),
        ("", None, "x.x.x.x:25", None),
        ("2.0.0", None, "216.32.181.234:25", None),
        ("216.32.181.234", None, "216.32.181.234:25", None),
    ],
)
def test_who_the_other_side_is(banner, received, remote, expected):
    made = rejection(remote_name=banner, received=received, remote_endpoint=remote)
    assert facts(made).get("RemoteIsExchangeOnline") == (expected and (expected,))


@pytest.mark.parametrize("kind", ["message-tracking", "ndr"])
def test_logs_without_sessions_show_no_other_side(kind):
    got = facts(rejection(kind=kind, remote_name="gw.contoso.com", received=OTHER))
    shown = ("RemoteIs", "RemoteAddress", "Banner", "Received", "StartTls", "Whole", "CertificateSent")
    assert not [name for name in got if name.startswith(shown)]


# ----------------------------------------------------------------------------------------------------------- the reply


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ex01", "true"),
        ("EX01", "true"),
        ("ex01.contoso.com", "true"),
        ("ex01.ad.internal", "true"),
        ("mail.contoso.com", "false"),
        ("*.contoso.com", "false"),
        ("ex012", "false"),
    ],
)
def test_the_name_in_the_reply_is_the_machine_s_own(name, expected):
    got = facts(rejection(certificate_name=name, certificate_verdict="untrustedroot"))
    assert got["ReplyNamesHost"] == (expected,)


# ---------------------------------------------------------------------------------------------- Schannel, credentials


def schannel(code, first, last=None, host="EX01"):
    at = HANDSHAKE + first
    return Context(
        kind="schannel",
        host=host,
        code=code,
        title="",
        text="",
        count=1,
        first=at,
        last=HANDSHAKE + (last or first),
        origin=Origin(source="system.evtx"),
    )


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (schannel("36870", timedelta(minutes=-9)), ("36870",)),
        (schannel("36870", timedelta(minutes=9)), ("36870",)),
        (schannel("36870", timedelta(hours=-5), timedelta(hours=5)), ("36870",)),
        (schannel("36870", timedelta(minutes=-11)), None),
        (schannel("36870", timedelta(minutes=11)), None),
        (schannel("36870", timedelta(), host="EX02"), None),
    ],
)
def test_schannel_events_of_the_same_machine_around_the_handshake(event, expected):
    assert facts(context=(event,)).get("SchannelEvent") == expected


@pytest.mark.parametrize(("basis", "expected"), [("zone", ("36870",)), ("unknown", None), ("wrong-zone", None)])
def test_schannel_events_surround_no_refusal_whose_utc_time_is_not_known(basis, expected):
    """Local digits look like UTC and are none: an event of the same digits may be hours away."""
    made = rejection(time_basis=basis)
    assert facts(made, context=(schannel("36870", timedelta(minutes=1)),)).get("SchannelEvent") == expected


# ------------------------------------------------------------------------------------------------- whose validity ended

NOT_TIME_VALID = ("CERT_TRUST_IS_NOT_TIME_VALID",)


def element(thumbprint, errors=()):
    return ChainElement(
        thumbprint=thumbprint, subject="x", error=bool(errors), errors=errors, info=0, infos=(), self_signed=False
    )


def out_of_date(*elements, index=None, leaf=None, result="800B0101"):
    known = {OWN: leaf} if leaf else {}
    made = operation(result=result, elements=elements, element_index=index)
    return operation_facts(made, CaseFacts(certificates=known)).get("OutOfDate")


VALID = Certificate(
    thumbprint=OWN, subject="CN=x", not_before=HANDSHAKE - timedelta(days=9), not_after=HANDSHAKE + timedelta(days=9)
)
OVER = replace(VALID, not_after=HANDSHAKE - timedelta(days=1))
EARLY = replace(VALID, not_before=HANDSHAKE + timedelta(days=1))


@pytest.mark.parametrize(
    ("elements", "index", "leaf", "expected"),
    [
        # event 11 says it element by element
        ((element(OWN, NOT_TIME_VALID), element("B")), None, None, "leaf"),
        ((element(OWN), element("B", NOT_TIME_VALID)), None, None, "issuer"),
        ((element(OWN), element("B"), element("C", NOT_TIME_VALID)), 0, OVER, "issuer"),
        ((element(OWN, NOT_TIME_VALID), element("B", NOT_TIME_VALID)), None, None, "leaf"),
        # the dates of event 90, a file or a log in form C
        ((), None, OVER, "leaf"),
        ((), None, EARLY, "leaf"),
        ((), None, VALID, "issuer"),
        # Status elementIndex of event 30
        ((), 0, None, "leaf"),
        ((), 1, None, "issuer"),
        ((), 2, None, "issuer"),
        ((), -1, None, None),
        # nothing tells
        ((), None, None, None),
        ((element(OWN), element("B")), None, None, None),
    ],
)
def test_whose_validity_ended(elements, index, leaf, expected):
    assert out_of_date(*elements, index=index, leaf=leaf) == (expected and (expected,))


@pytest.mark.parametrize("result", ["0", "800B0109", "800B010A", "800B0110"])
def test_only_a_check_that_fails_by_time_blames_anybody(result):
    assert out_of_date(element(OWN, NOT_TIME_VALID), result=result) is None


# ------------------------------------------------------------------------------------ partners, other tenants' exports


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("message-tracking", {"remote_name": "mx.fabrikam.com"}, ("false",)),
        ("ndr", {"remote_name": "mx.fabrikam.com."}, ("false",)),
        ("message-tracking", {"remote_name": "DB8EUR05FT032.mail.protection.outlook.com"}, None),
        # an alias of the smart host in the own domain may lead to Exchange Online
        ("message-tracking", {"remote_name": "smarthost.contoso.com"}, None),
        ("message-tracking", {"remote_name": "mx.fabrikam.com", "mail_from": "", "null_sender": True}, None),
        ("message-tracking", {"remote_name": ""}, None),
        ("message-tracking", {"remote_name": "192.0.2.99"}, None),
        # ... or in any other one: its address, or the server that the reply names, are Exchange Online's
        ("message-tracking", {"remote_name": "o365.brand.example", "remote_endpoint": "104.47.10.36"}, None),
        ("message-tracking", {"remote_name": "o365.brand.example", "remote_endpoint": "104.47.128.36"}, ("false",)),
        ("message-tracking", {"remote_name": "o365.brand.example", "remote_endpoint": "2a01:111:f403:c::1"}, None),
        (
            "message-tracking",
            {"remote_name": "o365.brand.example", "remote_host": "AM5EUR02FT025.eop-EUR02.prod.protection.outlook.com"},
            None,
        ),
        ("ndr", {"remote_name": "o365.brand.example", "remote_host": "gw.brand.example"}, ("false",)),
    ],
)
def test_tracking_and_reports_name_the_server_that_refused(kind, changes, expected):
    assert facts(rejection(kind=kind, sent=None, received=None, **changes)).get("RemoteIsExchangeOnline") == expected


@pytest.mark.parametrize("form", ["tracking", "ndr"])
def test_a_reply_that_a_partner_passes_on_is_not_blamed_on_the_own_chain_alone(tmp_path, form):
    made = world(0, form)
    FAULTS["missing_intermediate"].apply(made)
    written = files(completed(made))
    passed_on = {name: text.replace(made.front_end, "mx.litware.example") for name, text in written.items()}
    report, named = findings(tmp_path, passed_on)
    assert (report.verdict.cause, named["not-exchange-online"]) == ("not-exchange-online", "possible")


@pytest.mark.parametrize(
    ("connector", "expected"), [("To fabrikam", "possible"), ("Outbound to Office 365", "probable")]
)
@pytest.mark.parametrize("form", SEND_FORMS)
def test_the_export_may_be_of_the_tenant_of_another_send_connector(tmp_path, form, connector, expected):
    """One server, two tenants: the certificate for the other one is accepted on the connector for the other one."""
    made = world(0, form)
    other = certificate(0xE001, "mail.fabrikam.de", "Example Trust TLS CA 9", names=("mail.fabrikam.de",))
    made.mails += [made.mail(timedelta(minutes=minutes), connector=connector, sent=other) for minutes in (-5, 9)]
    inbound(made, TlsSenderCertificateName="mail.fabrikam.de")
    _, named = findings(tmp_path, files(completed(made)))
    assert named["certificate-name-mismatch"] == expected


def test_a_report_that_exchange_online_wrote_is_of_no_server_in_the_input(tmp_path):
    """Mail of a cloud mailbox, refused by a partner's server: the chain of this machine is not its cause."""
    made = world(0, "ndr")
    FAULTS["missing_intermediate"].apply(made)
    written = {
        name: text.replace(f"Reporting-MTA: dns;{made.fqdn}", "Reporting-MTA: dns;DB3PR01.prod.outlook.com")
        for name, text in files(completed(made)).items()
    }
    report, named = findings(tmp_path, written)
    assert report.rejection_count == len(made.refused())
    assert {incident.host for incident in report.incidents} == {""}
    assert RANK[named["missing-intermediate"]] < RANK["possible"]


@pytest.mark.parametrize(("name", "expected"), [("mail.contoso.com", "contradicted"), ("other.example", "possible")])
def test_a_certificate_that_the_tenant_expects_is_not_the_wrong_one(tmp_path, name, expected):
    made = world(0, "C")
    leaf = made.leaf
    made.exports["Get-ExchangeCertificate"] = [
        {
            "Thumbprint": leaf.thumbprint,
            "Services": "IIS",
            "Subject": leaf.name(),
            "Issuer": leaf.name(leaf.issuer),
        }
    ]
    inbound(made, TlsSenderCertificateName=name)
    _, named = findings(tmp_path, files(completed(made)))
    assert named["wrong-certificate-selected"] == expected


@pytest.mark.parametrize(
    ("connector", "expected"), [("To fabrikam", "possible"), ("Outbound to Office 365", "probable")]
)
def test_accepted_domains_may_be_those_of_another_send_connector_s_tenant(tmp_path, connector, expected):
    made = world(0, "C")
    made.mails.append(made.mail(timedelta(minutes=-50), connector=connector, sender="a@fabrikam.de"))
    made.exports["Get-AcceptedDomain"] = [
        {"DomainName": name, "DomainType": "Authoritative"} for name in ("fabrikam.onmicrosoft.com", "fabrikam.de")
    ]
    _, named = findings(tmp_path, files(completed(made)))
    assert named["domain-not-accepted"] == expected


@pytest.mark.parametrize(
    ("connector", "expected"), [("To fabrikam", "possible"), ("Outbound to Office 365", "probable")]
)
def test_addresses_may_be_those_of_another_send_connector_s_tenant(tmp_path, connector, expected):
    made = world(0, "C")
    made.mails.append(made.mail(timedelta(minutes=-50), connector=connector, seen="192.0.2.50"))
    inbound(made, TlsSenderCertificateName=None, SenderIPAddresses=["192.0.2.50"])
    _, named = findings(tmp_path, files(completed(made)))
    assert named["source-ip-not-allowed"] == expected


@pytest.mark.parametrize("first", [0, 1])
def test_a_connector_changed_at_the_time_of_a_refusal_was_not_changed_after_it(first):
    """Refusals in the same state share the answer, and this state is not the same for both."""
    values = {"Name": "From on-premises", "ConnectorType": "OnPremises"}
    time = rejection().time
    case = CaseFacts(
        settings=(Setting(origin=Origin(source="i.json"), cmdlet="Get-InboundConnector", values=values, changed=time),)
    )
    moments = [time - timedelta(hours=1), time]
    views = {at: session_facts(rejection(time=at), case) for at in (moments[first], moments[1 - first])}
    changed = [views[at].get("InboundConnector.ChangedSince", ()) for at in moments]
    assert changed == [("From on-premises at 2026-03-01 12:00:01.000 UTC",), ()]
