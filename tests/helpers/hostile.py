"""Small hostile inputs, each made here: what a reader must survive beside a case that stays as it is.

The kinds are those of measurements from outside: digits that are none, values nested too deeply, certificates that do
not describe themselves, directories that lead in circles, halves of surrogate pairs, names that cannot be sorted.
"""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from samples.cases import SEND_FILE, kb_3212877

DEEP = 100_000
_FROM, _UNTIL = datetime(2016, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)


def good_case() -> dict[str, bytes]:
    """The files of a case with one refusal and its cause."""
    return kb_3212877()


def send_log() -> bytes:
    return good_case()[SEND_FILE]


def with_sequence(number: bytes) -> bytes:
    """A Send log whose sequence number 2 is written in another way."""
    log = send_log()
    assert log.count(b",2,") >= 1
    return log.replace(b",2,", b"," + number + b",")


def der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = bytes([len(body)]) if len(body) < 128 else b"\x82" + struct.pack(">H", len(body))
    return bytes([tag]) + size + body


def certificate(**names) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.example.com")])
    built = x509.CertificateBuilder(
        issuer_name=names.get("issuer", name),
        subject_name=names.get("subject", name),
        public_key=key.public_key(),
        serial_number=7,
        not_valid_before=_FROM,
        not_valid_after=_UNTIL,
    )
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def certificate_of_version(number: int) -> bytes:
    """A certificate whose version (RFC 5280 4.1.2.1: 0 to 2) is none."""
    return certificate().replace(b"\xa0\x03\x02\x01\x02", bytes([0xA0, 3, 2, 1, number]), 1)


def in_store(data: bytes) -> bytes:
    """A serialized store of one certificate (MS-OSHARED 2.3.9.1)."""
    head = struct.pack("<IIIII", 0, 0x54524543, 32, 1, len(data))
    return head + data + struct.pack("<III", 0, 0, 0)


def in_clixml(data: bytes) -> bytes:
    """A certificate as Export-Clixml writes those of a store."""
    where = "Microsoft.PowerShell.Security\\Certificate::LocalMachine\\CA"
    return (
        '<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04"><Obj RefId="0"><TN RefId="0">'
        "<T>System.Security.Cryptography.X509Certificates.X509Certificate2</T></TN>"
        f'<Props><BA N="RawData">{base64.b64encode(data).decode()}</BA></Props>'
        f'<MS><S N="PSParentPath">{where}</S></MS></Obj></Objs>'
    ).encode()


def misnamed_certificate(part: str) -> bytes:
    """A certificate whose subject or issuer holds bytes that are no UTF-8 where a UTF8String is promised."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "QQQQQQQQ")])
    return certificate(**{part: name}).replace(b"QQQQQQQQ", b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8")


def unsupported_p7b() -> bytes:
    """A PKCS #7 object that holds data and is no bag of certificates (RFC 2315: 1.2.840.113549.1.7.1)."""
    data = bytes.fromhex("06092A864886F70D010701")
    return der(0x30, data, der(0xA0, der(0x04, b"x" * 300)))


def compound_file(circle: bool) -> bytes:
    """A compound file (MS-CFB) with a message's property stream; with ``circle``, a root that holds itself."""
    free, end, fat_sector = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
    header = bytes.fromhex("D0CF11E0A1B11AE1") + bytes(16)
    header += struct.pack("<HHHHH6xIIIIIIIIII", 0x3E, 3, 0xFFFE, 9, 6, 0, 1, 1, 0, 4096, end, 0, end, 0, 0)
    header += struct.pack("<I", free) * 108
    fat = struct.pack("<II", fat_sector, end) + struct.pack("<I", free) * 126

    def entry(name: str, kind: int, left: int, right: int, child: int) -> bytes:
        text = (name + "\0").encode("utf-16-le")
        links = struct.pack("<HBBIII16xI16xIQ", len(text), kind, 1, left, right, child, 0, end, 0)
        return text.ljust(64, b"\0") + links

    directory = entry("Root Entry", 1 if circle else 5, free, free, 0 if circle else 1)
    directory += entry("__recip_version1.0_#00000000", 1, free, 2, free)
    directory += entry("__properties_version1.0", 2, free, free, free)
    directory += bytes(128)
    return header.ljust(512, b"\0") + fat.ljust(512, b"\0") + directory.ljust(512, b"\0")


def nested_mail(depth: int, inner: str = "multipart/mixed") -> bytes:
    """A report whose parts lie in each other."""
    head = b"From: a@example.com\r\nMIME-Version: 1.0\r\n"
    if inner == "message/rfc822":
        return (
            head
            + b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n"
            + b"Content-Type: message/rfc822\r\n\r\n" * depth
        )
    parts = [b"Content-Type: multipart/report; report-type=delivery-status; boundary=b0\r\n\r\n"]
    parts += [b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (n, n + 1) for n in range(depth)]
    return head + b"".join(parts)


def nested_quotes(depth: int) -> bytes:
    """A mail with a delivery status inside of attached mails."""
    attached = b"Content-Type: message/rfc822\r\n\r\n" * depth
    return (
        b"From: a@example.com\r\n"
        + attached
        + b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; a\r\n"
    )


def clixml(value: str, depth: int = 0) -> bytes:
    """An exported Send connector whose name is ``value``, inside of so many lists."""
    inner = "<Obj><LST>" * depth + f"<S>{value}</S>" + "</LST></Obj>" * depth
    names = "".join(
        f'<S N="{name}">x</S>' for name in ("SmartHosts", "AddressSpaces", "DNSRoutingEnabled", "TlsDomain")
    )
    return (
        '<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04"><Obj RefId="0"><Props>'
        f'<S N="Name">{value}</S>{names}<Obj N="SmartHostsString">{inner}</Obj></Props></Obj></Objs>'
    ).encode()


def connector_json(name: str) -> bytes:
    """``Get-SendConnector | ConvertTo-Json`` of a connector with a name that is written as JSON text."""
    text = json.dumps(
        {
            "Name": "NAME",
            "AddressSpaces": ["SMTP:*;1"],
            "SmartHosts": ["example-com.mail.protection.outlook.com"],
            "TlsCertificateName": "",
            "Fqdn": "mail.example.com",
            "RequireTLS": True,
            "CloudServicesMailEnabled": True,
            "TlsDomain": "mail.protection.outlook.com",
            "DNSRoutingEnabled": False,
            "SourceTransportServers": ["EX01"],
            "Enabled": True,
            "TlsAuthLevel": "DomainValidation",
        }
    )
    return text.replace("NAME", name).encode()


def deep_event() -> str:
    return (
        '<Event xmlns="http://schemas.microsoft.com/win/2004/08/events/event"><System>'
        '<Provider Name="Microsoft-Windows-CAPI2"/><EventID>30</EventID><EventRecordID>1</EventRecordID>'
        '<TimeCreated SystemTime="2016-12-01T03:00:00Z"/><Channel>Microsoft-Windows-CAPI2/Operational</Channel>'
        "</System><UserData>" + "<a>" * 5_000 + "</a>" * 5_000 + "</UserData></Event>"
    )


def event_with_id(digits: str) -> bytes:
    return (
        deep_event()
        .replace("<a>" * 5_000 + "</a>" * 5_000, "<CertVerifyCertificateChainPolicy/>")
        .replace("<EventRecordID>1<", f"<EventRecordID>{digits}<")
        .encode()
    )


def zipped(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, send_log())
    return made.getvalue()


def pem(data: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(data) + b"-----END CERTIFICATE-----\n"


def event_json(value: str) -> bytes:
    """A CAPI2 event in the form of evtx_dump's JSON, with a process name that is written as JSON text."""
    return (
        (
            '{"Event": {"#attributes": {"xmlns": "http://schemas.microsoft.com/win/2004/08/events/event"}, "System": '
            '{"Provider": {"#attributes": {"Name": "Microsoft-Windows-CAPI2"}}, "EventID": 30, "EventRecordID": 1, '
            '"TimeCreated": {"#attributes": {"SystemTime": "2014-12-01T03:00:00Z"}}, '
            '"Computer": "CORP-SMTP1.ServerName.com", '
            '"Channel": "Microsoft-Windows-CAPI2/Operational"}, "UserData": {"CertVerifyCertificateChainPolicy": '
            '{"EventAuxInfo": {"#attributes": {"ProcessName": "VALUE"}}, '
            '"Result": {"#attributes": {"value": "800B0109"}}}}}}'
        )
        .replace("VALUE", value)
        .encode()
    )


def in_year(year: bytes) -> bytes:
    """A refusing Send log of that year."""
    return send_log().replace(b"2016-", year + b"-")


# Name of the file, contents, and whether it must be told as a loss (else it may be read, or be harmless).
FILES = {
    "sequence-superscript": ("SEND2.LOG", lambda: with_sequence(b"\xb2"), False),
    "sequence-arabic": ("SEND2.LOG", lambda: with_sequence("٢".encode()), False),
    "sequence-5000-digits": ("SEND2.LOG", lambda: with_sequence(b"9" * 5_000), False),
    "member-superscript": ("logs.zip", lambda: zipped("1²2.log", "12.log", "x.log"), False),
    "member-5000-digits": ("logs.zip", lambda: zipped("7" * 5_000 + ".log", "12.log"), False),
    "json-deep": ("deep.json", lambda: b'[{"a":' + b"[" * DEEP, True),
    "json-deep-and-whole": ("deep.json", lambda: b'[{"a":' + b"[" * 3_000 + b"]" * 3_000 + b"}]", True),
    "json-objects-deep": ("deep.json", lambda: b'{"a":' * DEEP, True),
    "json-event-deep": (
        "deep.json",
        lambda: b'{"Event":{"System":{"EventID":30},"UserData":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}}",
        True,
    ),
    "json-number": ("number.json", lambda: b'[{"a":' + b"9" * 5_000 + b"}]", True),
    "json-event-surrogate": ("event.json", lambda: event_json("a\\ud800b"), False),
    "json-event-result": ("event.json", lambda: event_json("x").replace(b"800B0109", b"F" * 5_000), False),
    "json-event-id": ("event.json", lambda: event_json("x").replace(b": 30,", b": " + b"9" * 4_000 + b","), False),
    "csv-header-case": (
        "queue.csv",
        lambda: b'"identity","nexthopdomain","LASTERROR"\r\n"CORP-SMTP1\\1","x.y","550 no"\r\n',
        False,
    ),
    "year-1": ("SEND2.LOG", lambda: in_year(b"0001"), True),
    "year-9999": ("SEND2.LOG", lambda: in_year(b"9999"), True),
    "json-surrogate": ("connector.json", lambda: connector_json("\\ud800x"), False),
    "json-surrogate-key": ("connector.json", lambda: connector_json('a", "\\udc00": "\\udfff'), False),
    "clixml-surrogate": ("connector.xml", lambda: clixml("_xD800_x"), False),
    "clixml-nul": ("connector.xml", lambda: clixml("a_x0000_b"), False),
    "clixml-deep": ("connector.xml", lambda: clixml("x", 2_000), True),
    "xml-deep": ("capi2.xml", lambda: b"<Events>" + deep_event().encode() + b"</Events>", True),
    "xml-record-5000-digits": ("capi2.xml", lambda: event_with_id("8" * 5_000), False),
    "xml-record-30-digits": ("capi2.xml", lambda: event_with_id("8" * 30), False),
    "xml-record-superscript": ("capi2.xml", lambda: event_with_id("²"), False),
    "certificate-subject": ("subject.cer", lambda: misnamed_certificate("subject"), True),
    "certificate-issuer": ("issuer.cer", lambda: misnamed_certificate("issuer"), True),
    "certificate-subject-pem": ("subject.pem", lambda: pem(misnamed_certificate("subject")), True),
    "certificate-version": ("version.cer", lambda: certificate_of_version(9), True),
    "certificate-version-pem": ("version.pem", lambda: pem(certificate_of_version(9)), True),
    "certificate-version-store": ("version.sst", lambda: in_store(certificate_of_version(9)), True),
    "certificate-version-clixml": ("version.xml", lambda: in_clixml(certificate_of_version(9)), True),
    "p7b-unsupported": ("unsupported.p7b", unsupported_p7b, True),
    "msg-circle": ("circle.msg", lambda: compound_file(circle=True), True),
    "mail-multiparts": ("deep.eml", lambda: nested_mail(3_000), True),
    "mail-messages": ("deep.eml", lambda: nested_mail(3_000, "message/rfc822"), True),
    "mail-status-in-mails": ("deep.eml", lambda: nested_quotes(1_500), True),
}
