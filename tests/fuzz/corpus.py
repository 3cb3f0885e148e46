"""The inputs that fuzzing begins with: made here and by the samples, one or more for each target."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

import bombs  # noqa: E402  after the path to it
import hostile  # noqa: E402

from evtx_analyzer.read import HEAD, recognize  # noqa: E402
from evtx_analyzer.report.document import to_json  # noqa: E402
from samples import capi2, cases, causes  # noqa: E402
from samples.evtx_writer import write_evtx  # noqa: E402
from tests.fuzz import made as other_kinds  # noqa: E402

_LARGEST = 300_000


@cache
def files() -> tuple[bytes, ...]:
    """Inputs of all kinds: those of the samples, of the hostile files, and a few of each syntax."""
    made = [content for case in (cases.kb_3212877, cases.kb_event_xml, cases.no_capi2) for content in case().values()]
    made += [path.read_bytes() for path in sorted((ROOT / "samples").rglob("*")) if path.suffix in (".json", ".xml")]
    made += [create() for _, create, _ in hostile.FILES.values()]
    made += [bomb() for bomb in bombs.BOMBS.values()]
    made += [hostile.certificate(), hostile.pem(hostile.certificate()), hostile.compound_file(circle=False)]
    made += [evtx(), *OTHERS, *other_kinds.others()]
    return tuple(dict.fromkeys(content for content in made if len(content) <= _LARGEST))


def evtx() -> bytes:
    """A small event log of two chunks."""
    return write_evtx(cases.noise(capi2.Recorder(cases.HOST), cases.KB_TIME, 12).events)


OTHERS = (
    b"#Software: Microsoft Internet Information Services 10.0\r\n#Version: 1.0\r\n#Date: 2016-12-01 03:00:00\r\n"
    b"#Fields: date time c-ip cs-username s-sitename s-computername s-ip s-port cs-method cs-uri-stem cs-uri-query "
    b"sc-status time-taken\r\n2016-12-01 03:00:00 203.0.113.9 OutboundConnectionResponse SMTPSVC1 EX01 - 25 - - "
    b"550+5.7.64+TenantAttribution;+Relay+Access+Denied 0 15\r\n",
    b"#Software: Microsoft Exchange Server\r\n#Version: 15.0.0.0\r\n#Log-type: Message Tracking Log\r\n#Fields: "
    b"date-time,source,event-id,internal-message-id,message-id,recipient-address,recipient-status,sender-address\r\n"
    b"2016-12-01T03:00:00.000Z,SMTP,FAIL,7,<a@b.c>,b@fabrikam.com,[{LED=550 5.7.64 TenantAttribution; Relay Access "
    b"Denied};{MSG=};{FQDN=x.y};{IP=203.0.113.9};{LRT=}],a@contoso.com\r\n",
    b"From: postmaster@contoso.com\r\nDate: Thu, 1 Dec 2016 03:00:00 +0000\r\nContent-Type: multipart/report; "
    b"report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nfailed\r\n--b\r\n"
    b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns;ex01\r\n\r\nFinal-Recipient: rfc822;b@x.y\r\n"
    b"Status: 5.7.64\r\nDiagnostic-Code: smtp;550 5.7.64 TenantAttribution; Relay Access Denied\r\n\r\n--b--\r\n",
    b'"TimeCreated","Identity","NextHopDomain","LastError"\r\n"","EX01\\4","x.y","550 5.7.64 Relay Denied"\r\n',
    b"Identity  AddressSpaces\r\n--------  -------------\r\nOutbound  {smtp:*;1}\r\n",
    b"Name            : Outbound\r\nAddressSpaces   : {SMTP:*;1}\r\nSmartHosts      : {x.y}\r\nFqdn : mail.x.y\r\n",
    b"203.0.113.9, OutboundConnectionResponse, 12/1/16, 3:00:00, SMTPSVC1, EX01, -, 15, 0, 40, 0, 0, -, -, "
    b"550 5.7.64 TenantAttribution,\r\n",
)


@cache
def of_syntax(syntax: str) -> tuple[bytes, ...]:
    """The inputs that a reader is meant for."""
    return tuple(content for content in files() if recognize(content[:HEAD]) == syntax)


def store_files() -> tuple[bytes, ...]:
    """Certificates, and lists of them, in all forms."""
    forms = ("serialized-store", "certutil-text", "certificate", "clixml")
    return tuple(content for form in forms for content in of_syntax(form))


@cache
def archives() -> tuple[bytes, ...]:
    """Archives of several kinds with a log in them, one in another."""
    import bz2
    import gzip
    import lzma

    log = hostile.send_log()
    inner, outer, tape = hostile.zipped("SEND1.LOG"), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("EX01/inner.zip", inner)
        archive.writestr("SEND2.LOG", log)
    with tarfile.open(fileobj=tape, mode="w:gz") as archive:
        info = tarfile.TarInfo("EX01/SEND1.LOG")
        info.size = len(log)
        archive.addfile(info, io.BytesIO(log))
    packed = [gzip.compress(log), bz2.compress(log), lzma.compress(log)]
    return (inner, outer.getvalue(), tape.getvalue(), *packed)


@cache
def reports() -> tuple[bytes, ...]:
    """Saved reports."""
    import tempfile

    import evtx_analyzer as ea

    found = []
    for case in (cases.kb_3212877, causes.CAUSES["expired"] if hasattr(causes, "CAUSES") else cases.untrusted_root):
        with tempfile.TemporaryDirectory() as folder:
            for name, content in case().items():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / name).write_bytes(content)
            found.append(to_json(ea.analyze(folder)).encode())
    return tuple(found)


@cache
def rules() -> dict[str, dict[str, bytes]]:
    """The rule files, by part."""
    parts = ("signals", "links", "commands", "causes")
    return {
        part: {file.name: file.read_bytes() for file in sorted((ROOT / "rules" / part).glob("*.yml"))} for part in parts
    }
