"""What cases are put together from: certificates, sessions, exports, and what a healthy server writes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from samples import capi2
from samples.capi2 import PARTIAL_CHAIN, Cert, Recorder
from samples.cases import HOST, ISSUER, KB_TIME, LEAF, ROOT
from samples.smtp import (
    REFUSAL,
    REMOTE_THUMBPRINT,
    SEEN,
    SendSession,
    send_log,
)

CHAIN = [(LEAF, 0), (ISSUER, 0), (ROOT, 0)]
SOUND: dict[str, Any] = {"policy_result": "0", "chain_result": "0", "chain_error": 0}
BROKEN: dict[str, Any] = {"policy_result": "800B0109", "chain_result": "800B010A", "chain_error": PARTIAL_CHAIN}
START = KB_TIME - timedelta(microseconds=556180)
REMOTE = Cert(
    REMOTE_THUMBPRINT,
    (("CN", "mail.protection.outlook.com"), ("O", "Microsoft Corporation"), ("C", "US")),
    (("CN", "Example Cloud CA"), ("C", "US")),
)
OLD = replace(LEAF, thumbprint="AB" * 20, issuer=(("CN", "Example Trust TLS CA 2014"), ("C", "US")), serial="0AAA")
DEFAULT_NAME = (("CN", "CORP-SMTP1"),)
DEFAULT = Cert("DE" * 20, DEFAULT_NAME, DEFAULT_NAME, names=("CORP-SMTP1", "CORP-SMTP1.ServerName.com"))
CONNECTOR = "Outbound to Office 365"


def xml(recorder: Recorder) -> bytes:
    """Events as ``wevtutil qe /f:xml`` prints them: one after another, without a root."""
    return "".join(f"{event}\r\n" for event in recorder.events).encode()


def verified() -> bytes:
    """A sound check of the server's own certificate at the handshake, and nothing else."""
    recorder = Recorder(HOST, next_record=900)
    capi2.check(recorder, KB_TIME, CHAIN, seed="sound", **SOUND)
    return xml(recorder)


def refused(leaf: Cert, *, one_row: bool = False) -> SendSession:
    """A session that sends a certificate and is refused after RCPT."""
    return message(SendSession(START, "08D50D3D9730A8D2").connect().starttls(leaf, one_row=one_row), 710).quit(1100)


def message(session: SendSession, after: int) -> SendSession:
    """One refused message."""
    return session.message(after, "a@servername.com", [("b@fabrikam.com", REFUSAL)], 4)


def accepted(leaf: Cert, start: datetime, session: str, *, connector: str = CONNECTOR, seen: str = SEEN) -> SendSession:
    """A session whose message is accepted."""
    made = SendSession(start, session, connector).connect(seen=seen).starttls(leaf)
    return made.message(710, "a@servername.com", [("b@fabrikam.com", "250 2.1.5 Recipient OK")], 3).quit(1300)


def schannel(number: int, time: datetime) -> bytes:
    """An event of Schannel in the System log, as XML; the texts of such events are localized, their ids are not."""
    return (
        f'<Event xmlns="{capi2.NAMESPACE}"><System><Provider Name="Schannel" '
        f'Guid="{{1F678132-5938-4686-9FDC-C8FF68F15C85}}"/><EventID>{number}</EventID><Version>0</Version>'
        "<Level>2</Level><Task>0</Task><Opcode>0</Opcode><Keywords>0x8000000000000000</Keywords>"
        f'<TimeCreated SystemTime="{capi2.stamp(time)}"/><EventRecordID>71220</EventRecordID><Correlation/>'
        '<Execution ProcessID="544" ThreadID="1996"/><Channel>System</Channel>'
        f'<Computer>{HOST}</Computer><Security UserID="S-1-5-18"/></System><EventData>'
        '<Data Name="Type">client</Data><Data Name="ErrorCode">0x8009030d</Data><Data Name="ErrorStatus">10001</Data>'
        "</EventData></Event>\r\n"
    ).encode()


def send(*sessions: SendSession) -> bytes:
    """A Send connector log."""
    return send_log(sessions).encode()


def inbound(**properties: object) -> dict[str, object]:
    """An inbound connector as Get-InboundConnector gives it."""
    return {
        "Name": "From CORP",
        "Enabled": True,
        "ConnectorType": "OnPremises",
        "TlsSenderCertificateName": None,
        "SenderIPAddresses": [],
        "RequireTls": True,
        "SenderDomains": ["smtp:*;1"],
        "AssociatedAcceptedDomains": [],
        **properties,
    }


def config(*objects: dict[str, object]) -> bytes:
    """Objects as ``ConvertTo-Json`` writes them: one alone, or an array; UTF-8 with a byte order mark."""
    content = json.dumps(objects[0] if len(objects) == 1 else list(objects), indent=2)
    return b"\xef\xbb\xbf" + content.replace("\n", "\r\n").encode()
