"""Cases that look like the KB's and are not; ``samples/README.md`` says what each one shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from samples import capi2
from samples.capi2 import UNTRUSTED_ROOT, Cert, Recorder
from samples.cases import CAPI2_FILE, HOST, IIS_FILE, ISSUER, KB_TIME, LEAF, ROOT, SEND_FILE, Files, noise
from samples.evtx_writer import write_evtx
from samples.pieces import (
    BROKEN,
    CHAIN,
    SOUND,
    refused,
    send,
    xml,
)
from samples.smtp import (
    FRONT_END,
    REFUSAL,
    W3C_HEADER,
    iis_session,
)


def microsoft_root_noise() -> Files:
    """800B0109 at the very moment of the handshake, but under MICROSOFT_ROOT, which fails by design."""
    recorder = Recorder(HOST, next_record=900)
    capi2.check(recorder, KB_TIME - timedelta(milliseconds=80), CHAIN, seed="own", **SOUND)
    for number in range(3):
        capi2.check(
            recorder,
            KB_TIME + timedelta(milliseconds=20 * number),
            CHAIN,
            seed=f"root {number}",
            kind=capi2.MICROSOFT_ROOT,
            policy_result="800B0109",
            chain_result="0",
            chain_error=0,
        )
    return {"capi2.xml": xml(recorder), SEND_FILE: send(refused(LEAF))}


def other_process() -> Files:
    """An engineer runs certutil on the right certificate while the mail is refused: not the server's own check."""
    recorder = Recorder(HOST, next_record=900)
    capi2.check(
        recorder,
        KB_TIME,
        [(LEAF, 0)],
        seed="certutil",
        process="certutil.exe",
        process_id=8080,
        **BROKEN,
    )
    return {"capi2.xml": xml(recorder), SEND_FILE: send(refused(LEAF))}


def other_certificate() -> Files:
    """The self-signed certificate of remote desktop fails in lsass during the handshake; the one sent is sound."""
    name = (("CN", "CORP-SMTP1.corp.local"),)
    desktop = Cert("0D" * 20, name, name)
    recorder = Recorder(HOST, next_record=900)
    capi2.check(recorder, KB_TIME - timedelta(milliseconds=80), CHAIN, seed="own", **SOUND)
    results: dict[str, Any] = {"policy_result": "800B0109", "chain_result": "800B0109", "chain_error": UNTRUSTED_ROOT}
    capi2.check(recorder, KB_TIME, [(desktop, UNTRUSTED_ROOT)], seed="desktop", **results)
    return {"capi2.xml": xml(recorder), SEND_FILE: send(refused(LEAF))}


def other_host() -> Files:
    """The failure is on one server, the refusal on another: never paired on time."""
    recorder = Recorder("CORP-DC7.ServerName.com", next_record=900)
    capi2.check(recorder, KB_TIME + timedelta(seconds=264, milliseconds=800), [(LEAF, 0)], seed="dc", **BROKEN)
    start = datetime(2016, 12, 1, 3, 14, 20, 100000, tzinfo=UTC)
    rows = [
        (94, "<", "", f"220 {FRONT_END} Microsoft ESMTP MAIL Service ready at Thu, 1 Dec 2016 03:14:20 +0000"),
        (94, ">", "EHLO", "CORP-SMTP1.ServerName.com"),
        (188, ">", "STARTTLS", ""),
        (281, "<", "", "220 2.0.0 SMTP server ready"),
        (700, ">", "MAIL", "FROM:<crm@servername.com> SIZE=1722"),
        (790, "<", "", "250 2.1.0 Sender OK"),
        (790, ">", "RCPT", "TO:<e@fabrikam.com>"),
        (884, "<", "", REFUSAL),
        (884, ">", "QUIT", ""),
    ]
    log = W3C_HEADER.format(date="2016-12-01 03:14:20") + iis_session(start, "CORP-SMTP1", rows)
    return {"capi2.xml": xml(recorder), IIS_FILE: log.encode("ascii")}


def outside_coverage() -> Files:
    """The CAPI2 ring holds the next morning only."""
    recorder = noise(Recorder(HOST, next_record=90210), KB_TIME + timedelta(hours=7), 10)
    return {CAPI2_FILE: write_evtx(recorder.events), SEND_FILE: send(refused(LEAF))}


def revocation_noise() -> Files:
    """The revocation server is offline (80092013), the chain and the policy are sound: common and harmless."""
    recorder = Recorder(HOST, next_record=900)
    elements = [(LEAF, 0x40), (ISSUER, 0x40), (ROOT, 0)]
    results: dict[str, Any] = {"policy_result": "0", "chain_result": "80092013", "chain_error": 0x1000040}
    capi2.check(recorder, KB_TIME, elements, seed="offline", **results)
    return {"capi2.xml": xml(recorder), SEND_FILE: send(refused(LEAF))}


def earlier_failure() -> Files:
    """The chain failed when the service started, forty minutes before; Schannel keeps the chain of a credential."""
    recorder = Recorder(HOST, next_record=900)
    capi2.check(recorder, KB_TIME - timedelta(minutes=40), [(LEAF, 0)], seed="start", **BROKEN)
    noise(recorder, KB_TIME - timedelta(minutes=30), 3)
    return {"capi2.xml": xml(recorder), SEND_FILE: send(refused(LEAF))}
