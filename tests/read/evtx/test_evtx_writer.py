"""The writer is right if readers that know nothing of it, and the layout of real exports, say so."""

import struct
import zlib
from datetime import UTC, datetime, timedelta
from io import BytesIO
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

import evtx
import pyevtx
import pytest
from Evtx.Evtx import FileHeader
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from places import CHECKOUT

from samples import evtx_writer
from samples.event_records import filetime
from samples.evtx_writer import CHUNK_SIZE, FILE_HEADER_SIZE, write_evtx

NAMESPACE = "http://schemas.microsoft.com/win/2004/08/events/event"
KB_3212877 = (
    f'<Event xmlns="{NAMESPACE}"><System>'
    '<Provider Name="Microsoft-Windows-CAPI2" Guid="{5bbca4a8-b209-48dc-a8c7-b23d3e5216fb}" />'
    "<EventID>30</EventID><Version>0</Version><Level>2</Level><Task>30</Task><Opcode>0</Opcode>"
    "<Keywords>0x4000000000000001</Keywords>"
    '<TimeCreated SystemTime="2016-12-01T03:09:55.456180600Z" /><EventRecordID>3156</EventRecordID><Correlation />'
    '<Execution ProcessID="544" ThreadID="1996" /><Channel>Microsoft-Windows-CAPI2/Operational</Channel>'
    '<Computer>CORP-SMTP1.ServerName.com</Computer><Security UserID="S-1-5-18" /></System>'
    '<UserData><CertVerifyCertificateChainPolicy><Policy type="CERT_CHAIN_POLICY_SSL" constant="4" />'
    '<Certificate fileRef="EC53EBC94A796C42E5B4E5851F961874F013D94C.cer" subjectName="*.ServerName.com" />'
    '<CertificateChain chainRef="{8729A893-3D34-49D1-8030-8513DE8E8897}" /><Flags value="0" />'
    '<SSLAdditionalPolicyInfo authType="server"><IgnoreFlags value="280" SECURITY_FLAG_IGNORE_REVOCATION="true" '
    'SECURITY_FLAG_IGNORE_WRONG_USAGE="true" /></SSLAdditionalPolicyInfo>'
    '<Status chainIndex="0" elementIndex="-1" />'
    '<EventAuxInfo ProcessName="lsass.exe" impersonateToken="S-1-5-18" />'
    '<CorrelationAuxInfo TaskId="{AD28C3AB-7CFE-4CF0-A623-F6CAC805A73C}" SeqNumber="1" />'
    '<Result value="800B0109">A certificate chain processed, but terminated in a root certificate which is not '
    "trusted by the trust provider.</Result></CertVerifyCertificateChainPolicy></UserData></Event>"
)

AUX = (
    '<EventAuxInfo ProcessName="lsass.exe"/>'
    '<CorrelationAuxInfo TaskId="{{54DE1FF9-BCEF-4EF5-8DB9-0802158C{number:04X}}}" SeqNumber="{number}"/>'
)
THUMBPRINT = "EC53EBC94A796C42E5B4E5851F961874F013D94C.cer"
TRUST = (
    '<TrustStatus><ErrorStatus value="10000" CERT_TRUST_IS_PARTIAL_CHAIN="true"/>'
    '<InfoStatus value="102"/></TrustStatus>'
)
# id: task, opcode, level, keywords, body. The schemas are those of real events, the facts are made up.
SHAPES = {
    10: (11, 1, 4, 3, "<CertGetCertificateChainStart>" + AUX + "</CertGetCertificateChainStart>"),
    11: (
        *(11, 2, 2, 3),
        f'<CertGetCertificateChain><Certificate fileRef="{THUMBPRINT}" subjectName={{subject}}/>'
        '<ValidationTime>2016-12-01T03:09:55Z</ValidationTime><AdditionalStore><Certificate fileRef="A.cer" '
        'subjectName={subject}/></AdditionalStore><ExtendedKeyUsage orMatch="true"><Usage oid="1.3.6.1.5.5.7.3.1" '
        'name="Serverauthentifizierung"/></ExtendedKeyUsage><Flags value="0"/><ChainEngineInfo context="machine"/>'
        '<CertificateChain chainRef="{{8729A893-3D34-49D1-8030-8513DE8E8897}}">' + TRUST + "<ChainElement>"
        f'<Certificate fileRef="{THUMBPRINT}" subjectName={{subject}}/>' + TRUST + '<ApplicationUsage any="true"/>'
        '<IssuanceUsage/><RevocationInfo><RevocationResult value="80092012">The revocation function was unable to '
        "check revocation for the certificate.</RevocationResult></RevocationInfo></ChainElement></CertificateChain>"
        + AUX
        + '<Result value="800B010A">{text}</Result></CertGetCertificateChain>',
    ),
    30: (
        *(30, 0, 2, 1),
        '<CertVerifyCertificateChainPolicy><Policy type="CERT_CHAIN_POLICY_SSL" constant="4"/>'
        f'<Certificate fileRef="{THUMBPRINT}" subjectName={{subject}}/><Flags value="0"/>'
        '<Status chainIndex="0" elementIndex="-1"/>' + AUX + '<Result value="800B0109">{text}</Result>'
        "</CertVerifyCertificateChainPolicy>",
    ),
    41: (
        *(41, 2, 2, 5),
        f'<CertVerifyRevocation><Certificate fileRef="{THUMBPRINT}" subjectName={{subject}}/>'
        '<IssuerCertificate fileRef="B.cer" subjectName="R3"/><Flags value="4" CERT_VERIFY_REV_CHAIN_FLAG="true"/>'
        '<RevocationStatus index="0" error="80092013" reason="0"/>' + AUX + '<Result value="80092013">{text}</Result>'
        "</CertVerifyRevocation>",
    ),
    53: (
        *(53, 2, 2, 0x36),
        '<CryptRetrieveObjectByUrlWire><URL scheme="http">http://ctldl.example/a.cab?x=1&amp;y=2</URL>'
        "<AdditionalInfo><HTTPResponseHeadersInfo><Header>ETag: &quot;0e1f&quot;</Header>"
        "<Header>Via: 1.1 [&quot;web-proxy&quot;] (squid)</Header></HTTPResponseHeadersInfo></AdditionalInfo>"
        "<CacheInfo><URLCacheResponseInfo eTag={subject}/></CacheInfo>" + AUX + '<Result value="2EE7">{text}</Result>'
        "</CryptRetrieveObjectByUrlWire>",
    ),
    70: (
        *(70, 0, 4, 0x80),
        f'<CryptAcquireCertificatePrivateKey><Certificate fileRef="{THUMBPRINT}" subjectName={{subject}}/>'
        '<Flags value="4"/>' + AUX + '<Result value="0"/></CryptAcquireCertificatePrivateKey>',
    ),
    90: (
        *(90, 0, 4, 0x200),
        f'<X509Objects><Certificate fileRef="{THUMBPRINT}" subjectName={{subject}}><Subject><CN>{{text}}</CN>'
        "<OU/></Subject><Extensions><SubjectAltName><DNSName>mail.example</DNSName><DirectoryName><CN>{text}</CN>"
        '</DirectoryName></SubjectAltName><BasicConstraints cA="false" pathLenConstraint=""/></Extensions>'
        "</Certificate>" + AUX + "</X509Objects>",
    ),
}
SUBJECTS = [
    "*.contoso.example",
    "Zürich Straße – 株式会社 メール 𝔘𝕟𝕚",
    'O="Contoso & Söhne" <mail>',
    '"0e1f&\'"',
    "",
]
START = datetime(2026, 11, 1, tzinfo=UTC)


def event(event_id, record_id, *, subject="mail.contoso.example", text="Überprüft: <nicht> & \"so\" 'ganz'"):
    task, opcode, level, keywords, body = SHAPES[event_id]
    second = START + timedelta(seconds=record_id)
    security = "S-1-5-18" if record_id % 2 else "S-1-5-21-1004336348-1177238915-682003330-512"
    activity = ' ActivityID="{0A1B2C3D-0000-4000-8000-00000000ABCD}"' if record_id % 3 == 0 else ""
    filled = body.format(subject=quoteattr(subject), text=escape(text), number=record_id)
    return (
        f'<Event xmlns="{NAMESPACE}"><System><Provider Name="Microsoft-Windows-CAPI2" '
        f'Guid="{{5bbca4a8-b209-48dc-a8c7-b23d3e5216fb}}"/><EventID>{event_id}</EventID><Version>0</Version>'
        f"<Level>{level}</Level><Task>{task}</Task><Opcode>{opcode}</Opcode>"
        f"<Keywords>0x{0x4000000000000000 | keywords:x}</Keywords>"
        f'<TimeCreated SystemTime="{second:%Y-%m-%dT%H:%M:%S}.{record_id * 1234567 % 10**7:07d}Z"/>'
        f"<EventRecordID>{record_id}</EventRecordID><Correlation{activity}/>"
        f'<Execution ProcessID="544" ThreadID="{record_id * 4}"/>'
        f"<Channel>Microsoft-Windows-CAPI2/Operational</Channel><Computer>EX01.contoso.example</Computer>"
        f'<Security UserID="{security}"/></System><UserData>{filled}</UserData></Event>'
    )


def event_data(record_id, data):
    user_data = event(10, record_id)
    return user_data[: user_data.index("<UserData>")].replace("-CAPI2/Operational", "-Schannel") + data + "</Event>"


def log(count, first=1):
    ids = list(SHAPES)
    return [
        event(ids[number % len(ids)], number, subject=SUBJECTS[number % len(SUBJECTS)])
        for number in range(first, first + count)
    ]


MANY = log(560, first=261)


@pytest.fixture(scope="module")
def many():
    return write_evtx(MANY)


# What each reader makes of a file, and what it ought to make of it


def tree(text):
    return _shape(ET.fromstring(text))


def _shape(element):
    children = [_shape(child) for child in element]
    return element.tag, dict(element.attrib), "" if children else element.text or "", children


def as_evtx_prints(text):
    """Microseconds, identifiers without braces, and no attribute without a value: that reader's three losses."""
    event_tree = ET.fromstring(text)
    created = event_tree.find(f".//{{{NAMESPACE}}}TimeCreated")
    created.set("SystemTime", created.get("SystemTime")[:26] + "Z")
    correlation = event_tree.find(f".//{{{NAMESPACE}}}Correlation")
    for key, value in correlation.items():
        correlation.set(key, value.strip("{}"))
    for element in event_tree.iter():
        for key, value in list(element.items()):
            if not value:
                del element.attrib[key]
    return _shape(event_tree)


def as_libevtx_prints(text):
    event_tree = ET.fromstring(text)
    created = event_tree.find(f".//{{{NAMESPACE}}}TimeCreated")
    created.set("SystemTime", created.get("SystemTime").rstrip("Z").ljust(29, "0") + "Z")
    return _shape(event_tree)


def libevtx_can_read(text):
    """libevtx rejects an entity in an attribute, also in real files, and leaves the quotes of an empty one open."""
    values = [value for element in ET.fromstring(text).iter() for value in element.attrib.values()]
    return not any(value == "" or set(value) & set("\"&<>'") for value in values)


def record_id(text):
    return int(ET.fromstring(text).find(f".//{{{NAMESPACE}}}EventRecordID").text)


def ticks(text):
    return filetime(ET.fromstring(text).find(f".//{{{NAMESPACE}}}TimeCreated").get("SystemTime"))


def evtx_records(data):
    return list(evtx.PyEvtxParser(BytesIO(data), validate_checksums=True, indent=False).records())


def assert_evtx_reads(data, events):
    records = evtx_records(data)
    assert [record["event_record_id"] for record in records] == [record_id(text) for text in events]
    for record, text in zip(records, events, strict=True):
        assert filetime(record["timestamp"].replace(" UTC", "")) == ticks(text)
        assert tree(record["data"]) == as_evtx_prints(text)


def assert_libevtx_reads(data, events):
    file = pyevtx.file()
    file.open_file_object(BytesIO(data))
    try:
        assert not file.is_corrupted()
        assert (file.number_of_records, file.number_of_recovered_records) == (len(events), 0)
        for index, text in enumerate(events):
            if libevtx_can_read(text):
                assert_libevtx_reads_one(file.get_record(index), text)
    finally:
        file.close()


def assert_libevtx_reads_one(record, text):
    assert record.identifier == record_id(text)
    assert record.get_written_time_as_integer() == ticks(text)
    assert record.event_identifier == int(ET.fromstring(text).find(f".//{{{NAMESPACE}}}EventID").text)
    assert tree(record.get_xml_string()) == as_libevtx_prints(text)


def assert_python_evtx_agrees(data, events):
    header = FileHeader(data, 0)
    assert header.verify()
    assert header.next_record_number() == record_id(events[-1]) + 1
    chunks = list(header.chunks())
    assert len(chunks) == header.chunk_count()
    assert all(chunk.verify() for chunk in chunks)
    records = [record for chunk in chunks for record in chunk.records()]
    assert all(record.verify() for record in records)
    assert [record.record_num() for record in records] == [record_id(text) for text in events]
    times = [datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=ticks(text) // 10) for text in events]
    for record, time in zip(records, times, strict=True):
        assert abs(record.timestamp().replace(tzinfo=UTC) - time) < timedelta(microseconds=10)  # it uses floats


def chunks_of(data):
    return [data[at : at + CHUNK_SIZE] for at in range(FILE_HEADER_SIZE, len(data), CHUNK_SIZE)]


def chunk_ids(chunk):
    return struct.unpack_from("<4Q", chunk, 8)


# Readers


def test_the_event_of_kb_3212877_reads_back_everywhere():
    data = write_evtx([KB_3212877])
    assert_evtx_reads(data, [KB_3212877])
    assert_libevtx_reads(data, [KB_3212877])
    assert_python_evtx_agrees(data, [KB_3212877])
    assert evtx_records(data)[0]["timestamp"] == "2016-12-01T03:09:55.4561806Z UTC"


def test_evtx_reads_back_every_record_of_many_chunks(many):
    assert len(chunks_of(many)) > 5
    assert_evtx_reads(many, MANY)


def test_libevtx_reads_back_every_record_of_many_chunks(many):
    assert sum(map(libevtx_can_read, MANY)) > len(MANY) / 3
    assert_libevtx_reads(many, MANY)


def test_python_evtx_agrees_on_headers_numbers_and_times(many):
    assert_python_evtx_agrees(many, MANY)


def test_every_shape_and_subject_is_among_the_many():
    assert {(number % len(SHAPES), number % len(SUBJECTS)) for number in range(261, 261 + len(MANY))} == {
        (shape, subject) for shape in range(len(SHAPES)) for subject in range(len(SUBJECTS))
    }


def test_event_data_and_bare_system_read_back():
    events = [
        event_data(1, ""),
        event_data(
            2, '<EventData><Data Name="Protocol">TLS &amp; 1.2</Data><Data Name="Empty"/><Data>x</Data></EventData>'
        ),
        event_data(3, '<EventData><Data Name="Protocol">SSL</Data><Data Name="Empty"/><Data>ÿ</Data></EventData>'),
        event_data(4, "<EventData/>"),
        event(30, 5),
    ]
    data = write_evtx(events)
    assert b"\x0d\x00\x00\x01" in data  # a normal substitution: empty Data stays
    assert_evtx_reads(data, events)
    assert_libevtx_reads(data, events)
    assert_python_evtx_agrees(data, events)


def test_optional_parts_of_system_may_lack_and_qualifiers_may_be_there():
    empty = short = event(10, 1).replace("<EventID>", '<EventID Qualifiers="16384">').replace(' UserID="S-1-5-18"', "")
    for name, value in (("Version", 0), ("Level", 4), ("Opcode", 1)):
        short = short.replace(f"<{name}>{value}</{name}>", "")
        empty = empty.replace(f"<{name}>{value}</{name}>", f"<{name}/>")
    data = write_evtx([short])
    assert_libevtx_reads(data, [short])
    assert_evtx_reads(data, [empty])  # evtx keeps an element whose optional text is missing


def test_deep_nesting_and_a_namespace_of_its_own():
    nested = event(30, 1).replace(
        "<Flags value=", "<L>" * 60 + '<x xmlns="urn:x"><y/></x>' + "</L>" * 60 + "<Flags value="
    )
    data = write_evtx([nested])
    assert_evtx_reads(data, [nested])
    assert_libevtx_reads(data, [nested])


LETTERS = st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"])
VALUES = st.text(LETTERS | st.sampled_from("\"&<>'"), max_size=12)
NAMES = st.from_regex(r"[A-Za-zÄ-Öß][A-Za-z0-9_.Ä-Öß-]{0,8}", fullmatch=True).filter(
    lambda n: not n.lower().startswith("xml")
)


def _serialized(name, attributes, content):
    marked = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{name}{marked}>{content}</{name}>"


ELEMENTS = st.recursive(
    st.builds(_serialized, NAMES, st.dictionaries(NAMES, VALUES, max_size=4), VALUES.map(escape)),
    lambda inner: st.builds(
        _serialized,
        NAMES,
        st.dictionaries(NAMES, VALUES, max_size=3),
        st.lists(inner, min_size=1, max_size=4).map("".join),
    ),
    max_leaves=12,
)


@settings(max_examples=examples(150))
@given(st.lists(ELEMENTS, min_size=1, max_size=3))
def test_any_element_tree_reads_back(bodies):
    head, tail = event(10, 1).split("<CertGetCertificateChainStart>", 1)[0], "</UserData></Event>"
    events = [
        head.replace("<EventRecordID>1<", f"<EventRecordID>{number}<") + body + tail
        for number, body in enumerate(bodies, start=1)
    ]
    data = write_evtx(events)
    assert_evtx_reads(data, events)
    assert_libevtx_reads(data, events)
    assert_python_evtx_agrees(data, events)


@given(st.integers(min_value=0, max_value=2650467743999999999))
def test_a_time_keeps_its_last_100_nanoseconds(expected):
    time = datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=expected // 10)
    assert filetime(f"{time:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + f".{expected % 10**7:07d}Z") == expected


# The reader's checks can fail


@pytest.mark.parametrize(
    "offset",
    [
        pytest.param(FILE_HEADER_SIZE + 52, id="checksum of the records"),
        pytest.param(FILE_HEADER_SIZE + 124, id="checksum of the chunk header"),
        pytest.param(FILE_HEADER_SIZE + 3000, id="a record"),
        pytest.param(FILE_HEADER_SIZE + 130, id="a name bucket"),
    ],
)
def test_a_damaged_chunk_is_noticed(many, offset):
    damaged = bytearray(many)
    damaged[offset] ^= 0xFF
    with pytest.raises(RuntimeError, match="CRC32 invalid"):
        evtx_records(bytes(damaged))


def test_a_damaged_file_header_is_noticed(many):
    damaged = bytearray(many)
    damaged[24] ^= 0xFF
    assert not FileHeader(bytes(damaged), 0).verify()


# Layout


def test_the_same_events_give_the_same_bytes(many):
    assert write_evtx(iter(MANY)) == many


def test_a_record_never_spans_a_chunk_and_the_chunk_is_used_up(many):
    for chunk in chunks_of(many)[:-1]:
        last, free = struct.unpack_from("<II", chunk, 44)
        assert last + struct.unpack_from("<I", chunk, last + 4)[0] == free <= CHUNK_SIZE
        assert free > CHUNK_SIZE - 4096
        assert not any(chunk[free:])


def test_an_event_larger_than_a_chunk_is_refused():
    with pytest.raises(ValueError, match="event 1 is larger than a chunk"):
        write_evtx([event(30, 1, text="x" * 32000)])
    with pytest.raises(ValueError, match="larger than a chunk"):
        write_evtx([event(30, 1, text="x" * 70000)])


def test_what_did_not_fit_leaves_no_trace_in_its_chunk():
    first, second = event(30, 1, text="x" * 20000), event(11, 2, text="y" * 20000)
    second = second.replace("EX01", "EX02")  # a template of its own
    assert chunks_of(write_evtx([first, second]))[0] == chunks_of(write_evtx([first]))[0]


def test_a_log_that_has_wrapped(many):
    count = len(chunks_of(many))
    wrapped = write_evtx(MANY, oldest_chunk=3)
    assert struct.unpack_from("<QQQ", wrapped, 8) == (3, 2, 261 + len(MANY))
    assert chunks_of(wrapped)[3:] + chunks_of(wrapped)[:3] == chunks_of(many)
    assert FileHeader(wrapped, 0).verify()
    newer = chunk_ids(chunks_of(wrapped)[0])[0]
    expected = MANY[newer - 261 :] + MANY[: newer - 261]
    assert_evtx_reads(wrapped, expected)
    with pytest.raises(ValueError, match="oldest_chunk"):
        write_evtx(MANY, oldest_chunk=count)
    with pytest.raises(ValueError, match="has not wrapped"):
        write_evtx(MANY, oldest_chunk=1, file_chunks=count + 1)


def test_a_file_of_one_mebibyte_of_chunks_is_padded_with_zeros():
    events = log(30)
    short, padded = write_evtx(events), write_evtx(events, file_chunks=16)
    assert len(padded) == 1_052_672
    assert padded[: len(short)] == short
    assert not any(padded[len(short) :])
    assert_evtx_reads(padded, events)
    assert_libevtx_reads(padded, events)
    assert_python_evtx_agrees(padded, events)


def test_a_dirty_file_says_so_and_keeps_its_checksum():
    header = FileHeader(write_evtx([KB_3212877], dirty=True), 0)
    assert header.is_dirty()
    assert header.calculate_checksum() == header.checksum()
    assert not FileHeader(write_evtx([KB_3212877]), 0).is_dirty()


def test_the_minor_version_of_windows_11():
    data = write_evtx([KB_3212877], minor_version=2)
    assert struct.unpack_from("<HH", data, 36) == (2, 3)
    assert_evtx_reads(data, [KB_3212877])


def test_a_channel_never_enabled_is_a_header_and_an_empty_chunk():
    data = write_evtx([])
    assert len(data) == 69_632
    assert evtx_records(data) == []
    assert struct.unpack_from("<QQQ", data, 8) == (0, 0, 1)
    assert chunk_ids(chunks_of(data)[0]) == (1, 2**64 - 1, 2**64 - 1, 2**64 - 1)
    header = FileHeader(data, 0)
    assert header.calculate_checksum() == header.checksum()
    file = pyevtx.file()
    file.open_file_object(BytesIO(data))
    assert file.number_of_records == 0
    file.close()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("<Correlation/>", "", "expected"),
        ("<Version>0</Version>", "<Version/>", "Version holds"),
        ('ProcessID="544"', 'ProcessID="544" SessionID="1"', "Execution holds"),
        ("<Level>2</Level>", "<Level>256</Level>", "does not fit"),
        ("<Level>2</Level>", '<Level Guid="x">2</Level>', "Level holds"),
        ("S-1-5-18", "X-1-5-18", "not a SID"),
        (".1234567Z", ".123456789Z", "FILETIME"),
        (".1234567Z", "", "SystemTime"),
        ("2026-11", "1600-11", "FILETIME"),
        ('<Flags value="0"/>', "<Flags>text<x/></Flags>", "beside"),
        ('<Flags value="0"/>', '<Flags xml:lang="de"/>', "namespace"),
        ("</UserData>", "<x/></UserData>", "UserData with one"),
        ("</UserData>", "</UserData><UserData/>", "at most one"),
    ],
)
def test_what_would_not_read_back_is_refused(old, new, reason):
    text = event(30, 1)
    assert old in text
    with pytest.raises(ValueError, match=reason):
        write_evtx([text.replace(old, new)])


def test_event_data_other_than_data_is_refused():
    with pytest.raises(ValueError, match="EventData holds"):
        write_evtx([event_data(1, "<EventData><Binary>00</Binary></EventData>")])


def test_identifiers_rise_and_may_leave_gaps():
    events = [event(30, 5), event(30, 9)]
    data = write_evtx(events)
    assert chunk_ids(chunks_of(data)[0]) == (5, 6, 5, 9)
    assert_evtx_reads(data, events)
    with pytest.raises(ValueError, match="does not rise"):
        write_evtx(reversed(events))


# Real exports

REAL = CHECKOUT.parent / "shared/data/capi2"


@pytest.fixture(params=["E_ShadowCopy6", "E_Windows"])
def real(request):
    for path in REAL.glob(f"{request.param} *.evtx"):
        return path.read_bytes()
    return pytest.skip("the real CAPI2 exports, which are not part of this project, are not here")


def used_chunks(data):
    return [chunk for chunk in chunks_of(data) if chunk.startswith(b"ElfChnk\0")]


def events_of_real(data):
    """All events of a real export in the order of their identifiers, with times as exact as they were."""
    for record in sorted(evtx_records(data), key=lambda record: record["event_record_id"]):
        root = ET.fromstring(record["data"])
        root.find(f".//{{{NAMESPACE}}}TimeCreated").set("SystemTime", record["timestamp"].replace(" UTC", ""))
        yield ET.tostring(root, encoding="unicode")


def records_of(chunk):
    at, free = 512, struct.unpack_from("<I", chunk, 48)[0]
    while at < free:
        size = struct.unpack_from("<I", chunk, at + 4)[0]
        yield chunk[at : at + size]
        at += size


def templates_of(chunk):
    for at in struct.unpack_from("<32I", chunk, 384):
        following = at
        while following:
            yield following
            following = struct.unpack_from("<I", chunk, following)[0]


def without_template_identity(chunk):
    """A template's GUID is Windows' own; its first bytes are repeated in every record as the template's id."""
    blank = bytearray(chunk)
    for at in templates_of(chunk):
        blank[at + 4 : at + 20] = bytes(16)
        blank = blank.replace(b"\x0c\x01" + chunk[at + 4 : at + 8], b"\x0c\x01" + bytes(4))
    return bytes(blank)


def test_a_real_export_is_written_as_windows_wrote_it_byte_for_byte(real):
    oldest = struct.unpack_from("<Q", real, 8)[0]
    ours = write_evtx(events_of_real(real), oldest_chunk=oldest, file_chunks=len(chunks_of(real)))
    assert ours[:FILE_HEADER_SIZE] == real[:FILE_HEADER_SIZE]
    assert len(ours) == len(real)
    assert len(used_chunks(real)) > 12
    for made, genuine in zip(used_chunks(ours), used_chunks(real), strict=True):
        assert made[:52] == genuine[:52]  # numbers and offsets, up to the checksum of the records
        assert made[56:124] == genuine[56:124]  # flags, up to the checksum of the header
        assert made[128:384] == genuine[128:384]  # names
        assert_same_records(without_template_identity(made), without_template_identity(genuine))


def assert_same_records(made, genuine):
    for ours, theirs in zip(records_of(made), records_of(genuine), strict=True):
        body = len(theirs) - 4 - 7
        assert ours[:body] == theirs[:body]
        assert ours[-4:] == theirs[-4:]
        padding = zip(ours[body:-4], theirs[body:-4], strict=True)
        assert all(our in (0, their) for our, their in padding)  # Windows pads with whatever was there


def test_real_checksums_and_hashes_follow_the_same_formulas(real):
    for chunk in used_chunks(real):
        free = struct.unpack_from("<I", chunk, 48)[0]
        assert zlib.crc32(chunk[512:free]) == struct.unpack_from("<I", chunk, 52)[0]
        assert zlib.crc32(chunk[:120] + chunk[128:512]) == struct.unpack_from("<I", chunk, 124)[0]
        for bucket, at in enumerate(struct.unpack_from("<32I", chunk, 384)):
            if at:
                assert evtx_writer._hash(struct.unpack_from("<8H", chunk, at + 4)) % 32 == bucket


def test_templates_that_share_a_bucket_are_chained():
    events = [event(10, number).replace("EX01", f"EX{number:02}") for number in range(1, 45)]
    data = write_evtx(events)
    (chunk,) = chunks_of(data)
    assert len(set(templates_of(chunk))) == len(events)
    assert_evtx_reads(data, events)
    assert_libevtx_reads(data, events)
