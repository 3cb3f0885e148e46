"""The samples are what their builder makes, and independent readers read every record of them as it went in."""

from __future__ import annotations

import io

import evtx
import pyevtx
import pytest
from Evtx.Evtx import ChunkHeader, FileHeader
from lxml import etree
from places import SAMPLES

from evtx_analyzer.read.evtx.binxml import render
from samples import build, cases
from samples.cases import CAPI2_FILE


def test_samples_are_built_byte_for_byte(tmp_path):
    assert build.main(["--check"]) == 0
    assert build.main(["--into", str(tmp_path)]) == 0
    for case, make in build.CASES.items():
        for name in make():
            assert (tmp_path / case / name).read_bytes() == (SAMPLES / case / name).read_bytes()


def test_every_folder_is_a_case_and_is_described():
    folders = {path.name for path in SAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(build.CASES)
    readme = (SAMPLES / "README.md").read_text(encoding="utf-8")
    assert [case for case in build.CASES if f"`{case}`" not in readme] == []


def tree(xml):
    """Tags, attributes and texts of an event; readers differ in what they do to times and white space only."""
    root = etree.fromstring(xml.encode(), etree.XMLParser(remove_blank_text=True))
    for created in root.iter("{*}TimeCreated"):
        created.set("SystemTime", created.get("SystemTime")[:26].rstrip("Z"))
    return [
        (item.tag, sorted((k, v) for k, v in item.attrib.items() if v), (item.text or "").strip())
        for item in root.iter()
    ]


@pytest.fixture(scope="module")
def written():
    return cases._kb_events()


@pytest.fixture(scope="module")
def content():
    return (SAMPLES / "kb-3212877" / CAPI2_FILE).read_bytes()


def test_evtx_reads_the_kb_sample_with_checksums(content, written):
    parser = evtx.PyEvtxParser(io.BytesIO(content), validate_checksums=True)
    assert [tree(record["data"]) for record in parser.records()] == [tree(event) for event in written]


def test_libevtx_reads_the_kb_sample(content, written):
    file = pyevtx.file()
    file.open_file_object(io.BytesIO(content))
    try:
        assert file.get_number_of_records() == len(written)
        # One record at a time: libevtx forgets the chunk of a record that is kept.
        for number, event in enumerate(written):
            record = file.get_record(number)
            assert record.get_identifier() == 3105 + number
            assert tree(record.get_xml_string().rstrip("\x00")) == tree(event)
    finally:
        file.close()


def test_python_evtx_reads_the_kb_sample_through_our_correction(content, written):
    header = FileHeader(content, 0)
    assert header.verify()
    chunks = [ChunkHeader(content[offset : offset + 65536], 0) for offset in range(4096, len(content), 65536)]
    assert all(chunk.verify() for chunk in chunks)
    got = [tree(render(record)) for chunk in chunks for record in chunk.records()]
    assert got == [tree(event) for event in written]
