"""Archives: every kind gives what the plain files give, and every trap is a loss with a name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import sys
import tarfile
import zipfile
import zlib
from typing import Any

import pytest

import evtx_analyzer as ea
from evtx_analyzer.discover import discover, folders
from evtx_analyzer.discover.archive.limits import Limits, read_password
from evtx_analyzer.discover.archive.zip_members import oem_name
from samples.build import CASES
from samples.cases import CAPI2_FILE, SEND_FILE

CASE = CASES["kb-3212877"]()


def zipped(files, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def sevenzipped(files, password=None):
    py7zr = pytest.importorskip("py7zr")
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w", password=password) as archive:
        for name, content in files.items():
            archive.writestr(content, name)
    return out.getvalue()


def cabbed(files):
    cabarchive = pytest.importorskip("cabarchive")
    archive = cabarchive.CabArchive()
    for name, content in files.items():
        archive[name.replace("/", "\\")] = cabarchive.CabFile(content)
    return archive.save(compress=True)


KINDS = {
    "case.zip": lambda: zipped(CASE),
    "stored.zip": lambda: zipped(CASE, zipfile.ZIP_STORED),
    "lzma.zip": lambda: zipped(CASE, zipfile.ZIP_LZMA),
    "backslash.zip": lambda: zipped({name.replace("/", "\\"): content for name, content in CASE.items()}),
    "case.tar": lambda: tarred(CASE),
    "case.tar.gz": lambda: gzip.compress(tarred(CASE)),
    "case.tgz": lambda: gzip.compress(tarred(CASE)),
    "case.tar.bz2": lambda: bz2.compress(tarred(CASE)),
    "case.tar.xz": lambda: lzma.compress(tarred(CASE)),
    "case.7z": lambda: sevenzipped(CASE),
    "case.cab": lambda: cabbed(CASE),
}


@pytest.fixture
def put(tmp_path):
    def write(name, content):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("name", list(KINDS))
def test_an_archive_of_any_kind_reads_as_its_files_do(put, name):
    path = put(name, KINDS[name]())
    sources = discover([path])
    assert {source.path for source in sources} == {f"{name}!{member}" for member in CASE}
    assert {source.origin.source for source in sources} == {name}
    for _ in range(2):
        for source in sources:
            stream: Any = source.open()
            assert stream.read() == CASE[source.origin.member]
            assert stream.failure == ""
            stream.close()
    report = ea.analyze(path)
    assert (report.verdict.cause, report.verdict.grade, report.rejection_count) == (
        "missing-intermediate",
        "probable",
        3,
    )
    assert report.losses == ()
    first = report.incidents[0].rejections[0].origin
    assert (first.source, first.member) == (name, SEND_FILE)
    assert CASE[SEND_FILE][first.offset :].split(b"\r\n")[0].startswith(b"2016-12-01T03:09:55.774Z")


def test_zip_in_zip_names_every_level(put):
    inner = zipped({"SEND1.LOG": CASE[SEND_FILE]})
    path = put("case.zip", zipped({"SRV1/Hub_Send_Protocol_Logs.zip": inner, CAPI2_FILE: CASE[CAPI2_FILE]}))
    report = ea.analyze(path)
    origin = report.incidents[0].rejections[0].origin
    assert (origin.source, origin.member) == ("case.zip", "SRV1/Hub_Send_Protocol_Logs.zip!SEND1.LOG")
    assert report.verdict.grade == "probable"


def test_nested_archives_beyond_those_kept_open_are_opened_again(put):
    names = [f"S{number}.zip" for number in range(12)]
    path = put("case.zip", zipped({name: zipped({"a.LOG": f"{name} contents".encode()}) for name in names}))
    sources = discover([path])
    for source in [*sources, *reversed(sources)]:
        stream = source.open()
        assert stream.read() == f"{source.origin.member.partition('!')[0]} contents".encode()
        stream.close()


def test_a_stream_outlives_the_archive_it_came_from(put):
    many = {f"S{number}.zip": zipped({"a.LOG": b"x" * 200_000}) for number in range(12)}
    sources = discover([put("case.zip", zipped(many))])
    held: Any = sources[0].open()
    assert held.read(10) == b"x" * 10
    for source in sources[1:]:
        source.open().close()
    assert len(held.read()) == 199_990
    assert held.failure == ""


def test_a_file_compressed_alone_lies_in_the_folder_of_its_archive(put):
    put("SmtpSend/SEND1.LOG.gz", gzip.compress(b"one"))
    put("SmtpSend/SEND2.LOG.bz2", bz2.compress(b"two"))
    sources = discover([put("SmtpSend/SEND3.LOG", b"three").parent.parent])
    assert [source.path for source in sources] == [
        "SmtpSend/SEND1.LOG.gz!SEND1.LOG",
        "SmtpSend/SEND2.LOG.bz2!SEND2.LOG",
        "SmtpSend/SEND3.LOG",
    ]
    assert list(folders(sources)) == ["SmtpSend"]
    members = discover([put("two.zip", zipped({"A/1.LOG": b"a", "A/2.LOG": b"b", "B/1.LOG": b"c"}))])
    assert [len(group) for group in folders(members).values()] == [2, 1]


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("Protokolle/Übersicht.log".encode("cp437"), "Protokolle/Übersicht.log"),
        ("Zustellung größer.log".encode("cp850"), "Zustellung größer.log"),
        ("Ølandstrafik.log".encode("cp850"), "Ølandstrafik.log"),  # 0x9D is a yen sign in cp437
        ("Übersicht.log".encode(), "Übersicht.log"),  # UTF-8 without the flag
        (b"SEND1.LOG", "SEND1.LOG"),
    ],
)
def test_oem_names(raw, name):
    assert oem_name(raw) == name


def test_an_oem_name_in_a_zip_reads_as_it_was_typed(put):
    # zipfile writes UTF-8 with its flag only for names beyond ASCII: give it cp437 letters and take the flag away.
    data = zipped({"PROTOKOLLEx/a.log": b"x"}).replace(b"PROTOKOLLEx", b"PROTOKOLL\x8e\x99")
    assert [source.origin.member for source in discover([put("g.zip", data)])] == ["PROTOKOLLÄÖ/a.log"]


# ---------------------------------------------------------------------------------------------------- traps


def statuses(report):
    return {source.path: (source.status, source.reason) for source in report.sources}


def test_names_that_lead_out_links_and_absolute_names_are_losses_and_the_rest_is_read(put, tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in ("../evil.LOG", "..\\evil2.LOG", "/abs.LOG", "C:\\Windows\\x.LOG"):
            archive.writestr(name, b"x")
        link = zipfile.ZipInfo("link.LOG")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr(SEND_FILE, CASE[SEND_FILE])
    report = ea.analyze(put("case.zip", out.getvalue()))
    assert report.rejection_count == 2
    lost = {loss.origin.member: loss.reason for loss in report.losses}
    assert set(lost) == {"../evil.LOG", "../evil2.LOG", "/abs.LOG", "C:/Windows/x.LOG", "link.LOG"}
    assert "leads out" in lost["../evil2.LOG"]
    assert "link" in lost["link.LOG"]
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "case.zip"]


def test_links_and_devices_in_a_tar_are_losses(put):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind in (("soft", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("pipe", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("SEND1.LOG")
        info.size = len(CASE[SEND_FILE])
        archive.addfile(info, io.BytesIO(CASE[SEND_FILE]))
    report = ea.analyze(put("case.tar", out.getvalue()))
    assert {loss.origin.member for loss in report.losses} == {"soft", "hard", "pipe"}
    assert report.rejection_count == 2


def test_a_bomb_is_stopped_and_the_rest_is_read(put):
    bomb = zipped({"bomb.LOG": b"\0" * (80 << 20)})
    path = put("case.zip", zipped({"bomb.zip": bomb, SEND_FILE: CASE[SEND_FILE], "pad.bin": os.urandom(500_000)}))
    report = ea.analyze(path)
    (loss,) = report.losses
    assert loss.origin.member == "bomb.zip!bomb.LOG"
    assert "--max-ratio" in loss.reason
    assert report.rejection_count == 2


def test_a_flat_bomb_of_many_members_is_stopped_by_the_outer_size(put):
    files = {f"{number}.LOG": b"-" * (20 << 20) for number in range(6)}
    report = ea.analyze([put("case.zip", zipped(files)), put("SEND.LOG", CASE[SEND_FILE])])
    # 64 MiB are let through: three members whole, and a part of the fourth.
    assert [loss.origin.member for loss in report.losses] == ["3.LOG", "4.LOG", "5.LOG"]
    assert all("case.zip unpacks to more than 200 times its size" in loss.reason for loss in report.losses)


def test_limits_on_bytes_depth_members_and_names_stop_with_the_option_that_widens_them(put):
    nested = zipped({"SEND1.LOG": CASE[SEND_FILE]})
    for number in range(3):
        nested = zipped({f"{number}.zip": nested})
    path = put("case.zip", zipped({"deep.zip": nested, "long" * 50: b"x", "a.LOG": b"a" * 5000, "b.LOG": b"b" * 5000}))

    def reasons(**limits):
        return [loss.reason for loss in ea.analyze(path, limits=Limits(**limits), anyway=True).losses]

    assert reasons() == []
    assert "--max-depth" in reasons(depth=2)[0]
    assert "--max-name" in reasons(name_length=100)[0]
    assert "--max-members" in reasons(members=3)[0]
    assert any("--max-unpacked" in reason for reason in reasons(total_bytes=6000))


def test_a_limit_stops_both_passes_at_the_same_byte(put):
    log = CASE[SEND_FILE]
    path = put("case.zip", zipped({"SEND1.LOG": log, "capi2.evtx": CASE[CAPI2_FILE]}))
    limits = Limits(total_bytes=len(log) + 30_000)
    first = ea.analyze(path, limits=limits)
    assert first == ea.analyze(path, limits=limits)
    assert [loss.origin.member for loss in first.losses if "--max-unpacked" in loss.reason] == ["capi2.evtx"]


def test_a_wrong_checksum_keeps_the_rows_and_is_told(put):
    data = zipped({"SEND1.LOG": CASE[SEND_FILE]}, zipfile.ZIP_STORED)
    damaged = data.replace(b"a@servername.com", b"b@servername.com")
    report = ea.analyze(put("case.zip", damaged))
    assert report.rejection_count == 2
    (loss,) = report.losses
    assert "checksum does not match" in loss.reason
    assert statuses(report)["case.zip!SEND1.LOG"][0] == "partial"


@pytest.mark.parametrize("suffix", ["gz", "xz", "bz2"])
def test_a_cut_compressed_log_is_read_up_to_the_cut(put, suffix):
    pad = random.Random(7).randbytes(200_000).hex().encode()
    log = CASE[SEND_FILE] + b"#" + pad + b"\r\n"
    packed = {"gz": gzip, "xz": lzma, "bz2": bz2}[suffix].compress(log)
    if suffix == "bz2":
        packed = bz2.compress(CASE[SEND_FILE]) + bz2.compress(log)
    report = ea.analyze(put(f"SEND1.LOG.{suffix}", packed[: len(packed) * 3 // 4]))
    assert report.rejection_count == 2
    assert any("damaged" in loss.reason for loss in report.losses)


def test_damage_in_the_middle_of_a_zip_loses_one_member(put):
    noise = random.Random(5).randbytes(60_000).hex().encode()
    data = bytearray(zipped({"a.LOG": noise, SEND_FILE: CASE[SEND_FILE]}))
    data[20_000:20_200] = bytes(200)
    report = ea.analyze(put("case.zip", bytes(data)))
    assert [loss.origin.member for loss in report.losses] == ["a.LOG"]
    assert report.rejection_count == 2


def test_a_cut_zip_is_read_by_its_local_headers(put):
    data = zipped({SEND_FILE: CASE[SEND_FILE], "b.LOG": b"b" * 100, CAPI2_FILE: CASE[CAPI2_FILE]})
    at = data.index(b"PK\x01\x02")
    report = ea.analyze(put("case.zip", data[: at - 500]))
    assert report.rejection_count == 2
    assert report.incidents[0].rejections[0].origin.member == SEND_FILE
    assert {loss.origin.member for loss in report.losses if loss.origin.source == "case.zip"} >= {None}
    assert any("local headers" in loss.reason for loss in report.losses)
    # The last member was cut: what its beginning holds is read, and the cut is told.
    assert any(loss.origin.member == CAPI2_FILE and "too early" in loss.reason for loss in report.losses)


def test_a_cut_zip_that_was_streamed_is_followed_by_its_data(put):
    class Pipe(io.RawIOBase):
        def __init__(self):
            self.data = b""

        def writable(self):
            return True

        def write(self, data):
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # no seek: sizes stand behind the data
        archive.writestr("a.LOG", b"first" * 100)
        archive.writestr(SEND_FILE, CASE[SEND_FILE])
    data = pipe.data[: pipe.data.index(b"PK\x01\x02")]
    assert data[6] & 8
    sources = {source.origin.member: source for source in discover([put("case.zip", data)])}
    assert set(sources) == {None, "a.LOG", SEND_FILE}
    stream: Any = sources[SEND_FILE].open()
    assert (stream.read(), stream.failure) == (CASE[SEND_FILE], "")
    stream.close()


def test_a_cut_tar_and_a_tar_with_a_damaged_header_are_told(put):
    data = tarred({"SEND1.LOG": CASE[SEND_FILE], "b.LOG": b"b" * 5000, "c.LOG": b"c"})
    cut = ea.analyze(put("cut.tar", data[: data.index(b"b" * 100) + 1000]))
    assert cut.rejection_count == 2
    assert any(loss.origin.member == "b.LOG" for loss in cut.losses) or any(
        loss.origin.source == "cut.tar" for loss in cut.losses
    )
    smashed = bytearray(data)
    at = data.index(b"b.LOG")
    smashed[at : at + 400] = b"\xff" * 400
    report = ea.analyze(put("smashed.tar", bytes(smashed)))
    assert [loss.reason for loss in report.losses] == [f"damaged: no member can be told from byte {at:,} on"]


def zip_crypto(data, password):
    """APPNOTE.TXT 6.1: traditional PKWARE encryption of one stored or deflated member."""
    table = [zlib.crc32(bytes([number])) ^ zlib.crc32(b"\0") for number in range(256)]
    keys = [0x12345678, 0x23456789, 0x34567890]

    def crc(value, byte):
        return (value >> 8) ^ table[(value ^ byte) & 0xFF]

    def update(byte):
        keys[0] = crc(keys[0], byte)
        keys[1] = ((keys[1] + (keys[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = crc(keys[2], keys[1] >> 24)

    for byte in password:
        update(byte)
    out = bytearray()
    for byte in data:
        temp = (keys[2] | 2) & 0xFFFF
        out.append(byte ^ (((temp * (temp ^ 1)) >> 8) & 0xFF))
        update(byte)
    return bytes(out)


def encrypted_zip(name, content, password):
    crc = zlib.crc32(content)
    body = zip_crypto(b"0123456789A" + bytes([crc >> 24]) + content, password)
    plain = bytearray(zipped({name: body}, zipfile.ZIP_STORED))
    for at, flags, checksum, size in ((0, 6, 14, 22), (plain.index(b"PK\x01\x02"), 8, 16, 24)):
        plain[at + flags] |= 1
        plain[at + checksum : at + checksum + 4] = crc.to_bytes(4, "little")
        plain[at + size : at + size + 4] = len(content).to_bytes(4, "little")
    return bytes(plain)


def test_an_encrypted_zip_needs_its_password_and_only_a_file_or_the_environment_gives_it(put, monkeypatch):
    path = put("case.zip", encrypted_zip("SEND1.LOG", CASE[SEND_FILE], b"Gr\xc3\xbcn 1"))
    monkeypatch.delenv("EVTX_ANALYZER_PASSWORD", raising=False)
    with pytest.raises(ea.InputError, match=r"case\.zip!SEND1\.LOG: encrypted; .*--password-file"):
        ea.analyze(path)
    assert ea.analyze(path, password="Grün 1".encode()).rejection_count == 2
    with pytest.raises(ea.InputError, match="not its password"):
        ea.analyze(path, password=b"wrong")
    assert "--password " not in " ".join(sys.argv)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_password_file_in_the_encodings_of_powershell(tmp_path, encoding):
    """``'Grün 1' > pw.txt`` in Windows PowerShell writes UTF-16 with a byte order mark."""
    (tmp_path / "pw.txt").write_bytes("Grün 1\r\n".encode(encoding))
    assert read_password(tmp_path / "pw.txt") == "Grün 1".encode()


@pytest.mark.parametrize("name", ["1:SEND1.LOG", ":SEND1.LOG"])
def test_a_member_of_a_7z_with_a_colon_is_read(put, name):
    """It was not unpacked, and taken for an empty file."""
    (source,) = discover([put("case.7z", sevenzipped({name: CASE[SEND_FILE]}))])
    assert (source.fault, source.open().read()) == ("", CASE[SEND_FILE])


def test_encrypted_7z(put):
    path = put("case.7z", sevenzipped({"SEND1.LOG": CASE[SEND_FILE]}, password="geheim"))
    with pytest.raises(ea.InputError, match="encrypted"):
        ea.analyze(path)
    assert ea.analyze(path, password=b"geheim").rejection_count == 2


@pytest.mark.parametrize(("method", "text"), [(9, "Deflate64"), (99, "AES"), (93, "Zstandard"), (42, "method 42")])
def test_a_method_that_is_not_read_is_named(put, method, text):
    data = bytearray(zipped({"SEND1.LOG": CASE[SEND_FILE]}))
    for at, offset in ((0, 8), (data.index(b"PK\x01\x02"), 10)):
        data[at + offset : at + offset + 2] = method.to_bytes(2, "little")
    with pytest.raises(ea.InputError, match=text):
        ea.analyze(put("case.zip", bytes(data)))


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("case.rar", b"Rar!\x1a\x07\x01\x00" + bytes(100), "RAR"),
        ("case.zst", b"\x28\xb5\x2f\xfd" + bytes(100), "Zstandard"),
        ("case.7z", b"7z\xbc\xaf\x27\x1c" + bytes(100), "damaged"),
        ("case.cab", b"MSCF\0\0\0\0" + bytes(100), "damaged"),
        ("case.zip", b"PK\x03\x04" + bytes(100), "directory is missing"),
        ("empty.zip", zipped({}), "without any member"),
    ],
)
def test_what_cannot_be_unpacked_is_a_loss_with_a_reason(put, name, content, text):
    with pytest.raises(ea.InputError, match=text):
        ea.analyze(put(name, content))


@pytest.mark.parametrize(("name", "module"), [("case.7z", "py7zr"), ("case.cab", "cabarchive")])
def test_without_the_extra_its_name_is_told(put, monkeypatch, name, module):
    path = put(name, KINDS[name]())
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ea.InputError, match=r"evtx-analyzer\[archives\]"):
        ea.analyze(path)


def test_any_cut_or_flip_of_an_archive_ends_in_a_report(put):
    chance = random.Random(11)
    for name in ("case.zip", "case.tar", "case.tar.gz", "case.7z", "case.cab"):
        whole = KINDS[name]()
        for _ in range(6):
            data = bytearray(whole)
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            del data[chance.randrange(len(data) // 2, len(data) + 1) :]
            report = ea.analyze(put(name, bytes(data)), anyway=True)
            assert report.losses or report.rejection_count == 3


def test_the_same_contents_count_once(put):
    log = CASE[SEND_FILE]
    path = put("case.zip", zipped({"SEND1.LOG": log, "SEND1 (2).LOG": log, "copy/again.zip": zipped({"a.LOG": log})}))
    report = ea.analyze(path)
    assert report.rejection_count == 2
    told = {source.path: source.duplicate_of for source in report.sources}
    assert sorted(told.values()) == ["", "case.zip!SEND1 (2).LOG", "case.zip!SEND1 (2).LOG"] or sorted(
        told.values()
    ) == ["", "case.zip!copy/again.zip!a.LOG", "case.zip!copy/again.zip!a.LOG"]
    assert sum("counted once" in source.reason for source in report.sources) == 2


def test_two_members_of_one_name_are_both_read(put):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.LOG", b"one")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.LOG", b"two")
    sources = discover([put("case.zip", out.getvalue())])
    assert [source.origin.member for source in sources] == ["a.LOG", "a.LOG#2"]


def test_an_office_document_is_not_unpacked(put):
    put("SEND.LOG", CASE[SEND_FILE])
    path = put("notes.xlsx", zipped({"[Content_Types].xml": b"<x/>", "xl/workbook.xml": b"<x/>"}))
    report = ea.analyze(path.parent)
    assert statuses(report)["notes.xlsx"][0] == "not-read"
    assert [loss.origin.source for loss in report.losses] == ["notes.xlsx"]


# ------------------------------------------------------------------------------------------- collector bundles


def test_a_bundle_of_the_exchange_log_collector_is_recognized(put):
    outer = {
        "Hub_Send_Protocol_Logs.zip": zipped({"SEND2016120103-1.LOG": CASE[SEND_FILE]}),
        "Message_Tracking_Logs.zip": zipped({"NoFilesDetected.txt": b"Location: D:\\Logs\r\n"}),
        "Windows_Event_Logs\\Windows-Logs.zip": zipped({"Application.evtx": CASE[CAPI2_FILE]}),
    }
    report = ea.analyze(put("EX01-1123.zip", zipped(outer)))
    (bundle,) = report.bundles
    assert (bundle.path, bundle.collector, bundle.server) == ("EX01-1123.zip", "ExchangeLogCollector", "EX01")
    assert bundle.contents == ("Hub_Send_Protocol_Logs", "Message_Tracking_Logs", "Windows_Event_Logs")
    assert bundle.markers == ("EX01-1123.zip!Message_Tracking_Logs.zip!NoFilesDetected.txt",)
    assert any("CAPI2" in text for text in bundle.never_collected)
    assert any("SMTPSVC" in text for text in bundle.never_collected)


def test_collector_folders_of_several_servers_are_several_bundles(put):
    for server in ("EX01", "EX02"):
        put(f"20261123/{server}/Hub_Send_Protocol_Logs/SEND1.LOG", CASE[SEND_FILE] + server.encode())
    root = put("20261123/EX02/Transport_Configuration/EdgeTransport.exe.config", b"<x/>").parents[3]
    report = ea.analyze(root)
    assert [(bundle.path, bundle.server) for bundle in report.bundles] == [
        ("20261123/EX01", "EX01"),
        ("20261123/EX02", "EX02"),
    ]


def test_other_inputs_are_no_collector_bundle(put):
    assert ea.analyze(put("SmtpSend/SEND1.LOG", CASE[SEND_FILE]).parent.parent).bundles == ()
