"""The sample cases: for each a function that gives its files. ``samples/README.md`` says what each one shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from samples import capi2
from samples.capi2 import PARTIAL_CHAIN, UNTRUSTED_ROOT, Cert, Recorder
from samples.evtx_writer import write_evtx
from samples.smtp import FRONT_END, REFUSAL, W3C_HEADER, SendSession, iis_session, send_log

Files = dict[str, bytes]

HOST = "CORP-SMTP1.ServerName.com"
KB_TIME = datetime(2016, 12, 1, 3, 9, 55, 456180, tzinfo=UTC)
THUMBPRINT = "EC53EBC94A796C42E5B4E5851F961874F013D94C"
CAPI2_FILE = "Microsoft-Windows-CAPI2%4Operational.evtx"
SEND_FILE = "SmtpSend/SEND2016120103-1.LOG"
IIS_FILE = "SMTPSVC1/ex161201.log"

ROOT_NAME = (("CN", "Example Trust Global Root"), ("O", "Example Trust, Inc."), ("C", "US"))
ISSUER_NAME = (("CN", "Example Trust TLS CA 2016"), ("O", "Example Trust, Inc."), ("C", "US"))
ROOT = Cert(
    "0F1E2D3C4B5A69788796A5B4C3D2E1F001122334", ROOT_NAME, ROOT_NAME, key_id="AA" * 20, issuer_key_id="AA" * 20, ca=True
)
ISSUER = Cert(
    "5A5B5C5D5E5F60616263646566676869707172AB",
    ISSUER_NAME,
    ROOT_NAME,
    key_id="BB" * 20,
    issuer_key_id="AA" * 20,
    ca=True,
)
LEAF = Cert(
    THUMBPRINT,
    (("CN", "*.ServerName.com"), ("O", "ServerName Corp."), ("L", "Redmond"), ("S", "Washington"), ("C", "US")),
    ISSUER_NAME,
    serial="0B6E2F5A91C47D3308D1A2B3C4D5E6F7",
    names=("*.ServerName.com", "ServerName.com"),
    key_id="CC" * 20,
    issuer_key_id="BB" * 20,
)
MICROSOFT = Cert(
    "3BDA323E552DB1FDE5F4FBEE75D6D5B2B187EEDC",
    (("CN", "Example Update Signer"), ("O", "Example Software"), ("C", "US")),
    (("CN", "Example Code Signing CA"), ("C", "US")),
    key_id="DD" * 20,
    issuer_key_id="EE" * 20,
)

KB_EVENT = (
    '<Event xmlns="http://schemas.microsoft.com/win/2004/08/events/event"><System>'
    '<Provider Name="Microsoft-Windows-CAPI2" Guid="{5bbca4a8-b209-48dc-a8c7-b23d3e5216fb}"/><EventID>30</EventID>'
    "<Version>0</Version><Level>2</Level><Task>30</Task><Opcode>0</Opcode><Keywords>0x4000000000000001</Keywords>"
    '<TimeCreated SystemTime="2016-12-01T03:09:55.456180600Z"/><EventRecordID>3156</EventRecordID><Correlation/>'
    '<Execution ProcessID="544" ThreadID="1996"/><Channel>Microsoft-Windows-CAPI2/Operational</Channel>'
    "<Computer>CORP-SMTP1.ServerName.com</Computer>"
    '<Security UserID="S-1-5-18"/></System><UserData><CertVerifyCertificateChainPolicy>'
    '<Policy type="CERT_CHAIN_POLICY_SSL" constant="4"/>'
    '<Certificate fileRef="EC53EBC94A796C42E5B4E5851F961874F013D94C.cer" subjectName="*.ServerName.com"/>'
    '<CertificateChain chainRef="{8729A893-3D34-49D1-8030-8513DE8E8897}"/><Flags value="0"/>'
    '<SSLAdditionalPolicyInfo authType="server"><IgnoreFlags value="280" SECURITY_FLAG_IGNORE_REVOCATION="true" '
    'SECURITY_FLAG_IGNORE_WRONG_USAGE="true"/></SSLAdditionalPolicyInfo><Status chainIndex="0" elementIndex="-1"/>'
    '<EventAuxInfo ProcessName="lsass.exe" impersonateToken="S-1-5-18"/>'
    '<CorrelationAuxInfo TaskId="{AD28C3AB-7CFE-4CF0-A623-F6CAC805A73C}" SeqNumber="1"/>'
    '<Result value="800B0109">A certificate chain processed, but terminated in a root certificate which is not trusted '
    "by the trust provider.</Result></CertVerifyCertificateChainPolicy></UserData></Event>"
)
KB_CHAIN = "{8729A893-3D34-49D1-8030-8513DE8E8897}"


def kb_3212877() -> Files:
    """The case of KB 3212877: the chain of the certificate that is sent stops at its missing issuer."""
    return {
        CAPI2_FILE: write_evtx(_kb_events(), oldest_chunk=0),
        SEND_FILE: _send().encode(),
        IIS_FILE: _iis().encode("ascii"),
    }


def kb_event_xml() -> Files:
    """The KB's own event, alone, as ``wevtutil qe /f:xml`` prints it, with the Send connector log: no event 11."""
    return {"capi2.xml": f"{KB_EVENT}\r\n".encode(), SEND_FILE: _send().encode()}


def untrusted_root() -> Files:
    """The same refusal, but the chain is complete and ends in a private root that the machine does not trust."""
    private = (("CN", "ServerName Corp Root CA"), ("DC", "servername"), ("DC", "com"))
    root = Cert("77" * 20, private, private, key_id="71" * 20, issuer_key_id="71" * 20, ca=True)
    leaf = replace(LEAF, issuer=private, issuer_key_id="71" * 20)
    recorder = noise(Recorder(HOST, next_record=2900), KB_TIME - timedelta(minutes=6), 10)
    chain = [(leaf, 0), (root, UNTRUSTED_ROOT)]
    results: dict[str, Any] = {"policy_result": "800B0109", "chain_result": "800B0109", "chain_error": UNTRUSTED_ROOT}
    capi2.check(recorder, KB_TIME, chain, seed="private", **results)
    noise(recorder, KB_TIME + timedelta(seconds=30), 5)
    return {CAPI2_FILE: write_evtx(recorder.events), SEND_FILE: _send(leaf).encode()}


def later_success() -> Files:
    """The chain failed a few seconds before, was repaired, and passed the same check before the refusal."""
    recorder = noise(Recorder(HOST, next_record=2900), KB_TIME - timedelta(minutes=6), 10)
    broken: dict[str, Any] = {"policy_result": "800B0109", "chain_result": "800B010A", "chain_error": PARTIAL_CHAIN}
    sound: dict[str, Any] = {"policy_result": "0", "chain_result": "0", "chain_error": 0}
    capi2.check(recorder, KB_TIME - timedelta(seconds=4), [(LEAF, 0)], seed="before", **broken)
    whole = [(LEAF, 0), (ISSUER, 0), (ROOT, 0)]
    capi2.check(recorder, KB_TIME, whole, seed="after", **sound)
    return {CAPI2_FILE: write_evtx(recorder.events), SEND_FILE: _send().encode()}


def no_capi2() -> Files:
    """Only the Send connector log: the refusal is there, nothing tells why."""
    return {SEND_FILE: _send().encode()}


KB_CASES: dict[str, Callable[[], Files]] = {
    "kb-3212877": kb_3212877,
    "kb-event-xml": kb_event_xml,
    "untrusted-root": untrusted_root,
    "later-success": later_success,
    "no-capi2": no_capi2,
}


# ------------------------------------------------------------------------------------------------------- pieces


def _kb_events() -> list[str]:
    """Noise, the KB's check with its event 11 and 90, more noise, and the same failure for the IIS session."""
    recorder = noise(Recorder(HOST, next_record=3105), KB_TIME - timedelta(minutes=9), 12)
    task = capi2.guid("kb task")
    where = {"process": 544, "thread": 1996}
    early = KB_TIME - timedelta(milliseconds=62)
    assert recorder.next_record == 3153
    recorder.write(10, early, capi2.start("lsass.exe", task, 1), **where)
    recorder.write(90, early, capi2.objects([LEAF], process="lsass.exe", task=task, sequence=2), **where)
    chain = capi2.chain(
        [(LEAF, 0)], KB_CHAIN, "800B010A", process="lsass.exe", task=task, sequence=3, error=PARTIAL_CHAIN
    )
    recorder.write(11, early + timedelta(milliseconds=31), chain, **where, level=2)
    recorder.events.append(KB_EVENT)
    recorder.next_record = 3157
    noise(recorder, KB_TIME + timedelta(seconds=20), 10)
    broken: dict[str, Any] = {"policy_result": "800B0109", "chain_result": "800B010A", "chain_error": PARTIAL_CHAIN}
    capi2.check(recorder, _IIS_START + timedelta(milliseconds=420), [(LEAF, 0)], seed="iis", **broken)
    noise(recorder, _IIS_START + timedelta(minutes=1), 5)
    return recorder.events


def noise(recorder: Recorder, start: datetime, checks: int) -> Recorder:
    """Checks that have nothing to do with mail: code signing, and the routine failure under MICROSOFT_ROOT."""
    for number in range(checks):
        time = start + timedelta(seconds=7 * number)
        root_check = number % 10 == 9
        capi2.check(
            recorder,
            time,
            [(MICROSOFT, 0), (replace(ROOT, thumbprint="CDD4EEAE6000AC7F40C3802C171E30148030C072"), 0)],
            policy_result="800B0109" if root_check else "0",
            chain_result="0",
            chain_error=0,
            seed=f"noise {recorder.next_record}",
            process="svchost.exe",
            process_id=1044,
            thread_id=2210,
            kind=capi2.MICROSOFT_ROOT if root_check else capi2.AUTHENTICODE,
        )
    return recorder


def _send(leaf: Cert = LEAF) -> str:
    """Three sessions: one to a partner, one to the tenant's own recipients, and the refused one of the KB's time."""
    partner = SendSession(
        KB_TIME - timedelta(seconds=3), "08D50D3D9730A8C9", connector="Partner", remote="198.51.100.9:25"
    )
    partner.connect(banner="mx.fabrikam.com").message(290, "a@servername.com", [("c@fabrikam.com", "250 2.1.5 OK")], 1)
    own = SendSession(KB_TIME - timedelta(seconds=21), "08D50D3D9730A8CA").connect().starttls(leaf)
    own.message(700, "a@servername.com", [("b@servername.onmicrosoft.com", "250 2.1.5 Recipient OK")], 2).quit(1300)
    # The certificate row stands 301 ms after the start, the KB's event 255 ms after that row.
    refused = SendSession(KB_TIME - timedelta(microseconds=556180), "08D50D3D9730A8D2").connect().starttls(leaf)
    recipients = [("b@fabrikam.com", REFUSAL), ("d@adatum.com", REFUSAL)]
    refused.message(710, "a@servername.com", recipients, 4).quit(1100)
    return send_log([own, partner.quit(900), refused])


_IIS_START = datetime(2016, 12, 1, 3, 14, 20, 100000, tzinfo=UTC)


def _iis() -> str:
    """One connection of an application's mail over the IIS SMTP service, refused after RCPT."""
    rows = [
        (94, "<", "", f"220 {FRONT_END} Microsoft ESMTP MAIL Service ready at Thu, 1 Dec 2016 03:14:20 +0000"),
        (94, ">", "EHLO", "CORP-SMTP1.ServerName.com"),
        (171, "<", "", f"250-{FRONT_END} Hello [203.0.113.7]"),
        (188, ">", "STARTTLS", ""),
        (281, "<", "", "220 2.0.0 SMTP server ready"),
        (611, ">", "EHLO", "CORP-SMTP1.ServerName.com"),
        (700, "<", "", f"250-{FRONT_END} Hello [203.0.113.7]"),
        (700, ">", "MAIL", "FROM:<crm@servername.com> SIZE=1722"),
        (790, "<", "", "250 2.1.0 Sender OK"),
        (790, ">", "RCPT", "TO:<e@fabrikam.com>"),
        (884, "<", "", REFUSAL),
        (884, ">", "RSET", ""),
        (970, "<", "", "250 2.0.0 Resetting"),
        (970, ">", "QUIT", ""),
    ]
    return W3C_HEADER.format(date="2016-12-01 03:14:20") + iis_session(_IIS_START, "CORP-SMTP1", rows)
