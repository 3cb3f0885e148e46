"""Searching a block gives the chunks that a search letter by letter gives, for any text at any place."""

import random

import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evtx_analyzer.read.evtx.search import Search, search_for
from samples import capi2

CHUNK = 65536
SETTINGS = settings(max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow])
THUMBPRINTS = [f"{number * 0x1234567890ABCDEF1234567890ABCDEF12345:040X}"[-40:] for number in range(1, 14)]
GUIDS = [capi2.guid(f"task {number}") for number in range(9)]
CODES = ["800b0109", "800b010a"]
NAMES = ["EdgeTransport.exe", "lsass.exe", "msexchange", "inetinfo.exe", "true"]
LETTERS = ["ABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCD", "FEDCBA98"]
SETS = {"thumbprints": THUMBPRINTS, "one": THUMBPRINTS[:1], "tasks": GUIDS, "codes": CODES, "names": NAMES} | {
    "letters": LETTERS
}


def block(data):
    return memoryview(bytes(data))


def utf16(text, *, odd):
    return b"x" * (3 if odd else 2) + text.encode("utf-16-le") + b"\x07"


def naive(names, data):
    """Chunks in which one of the names stands in UTF-16LE without its last NUL, found letter by letter."""
    lowered = bytes(data).lower()
    needles = [name.lower().encode("utf-16-le")[:-1] for name in names]
    starts = range(0, len(data), CHUNK)
    return {at // CHUNK for at in starts if any(needle in lowered[at : at + CHUNK] for needle in needles)}


@pytest.mark.parametrize("names", SETS.values(), ids=SETS)
def test_a_text_is_found_at_every_place_in_every_case(names):
    made = random.Random(len(names[0]))
    search = Search([[frozenset(names)]])
    for offset in range(64):
        name = made.choice(names)
        data = bytearray(made.randbytes(3 * CHUNK))
        start = made.choice([0, 1, 2]) * CHUNK + made.choice([0, 30_001, CHUNK - 512]) + offset
        mixed = "".join(made.choice([letter.lower(), letter.upper()]) for letter in name)
        needle = made.choice([name.lower(), name.upper(), mixed]).encode("utf-16-le")
        data[start : start + len(needle)] = needle
        assert search.chunks(block(data)) >= naive(names, data) >= {start // CHUNK}


@given(seed=st.integers(0, 1 << 30), count=st.integers(0, 30), noise=st.booleans())
@SETTINGS
def test_nothing_is_missed_and_little_else_is_found(seed, count, noise):
    """Blocks full of parts of texts, whole ones and nearly right ones, at any place. NULs within are not looked at."""
    made = random.Random(seed)
    names = made.choice(list(SETS.values()))
    data = bytearray(made.randbytes(2 * CHUNK) if noise else b"\x07" * (2 * CHUNK))
    for _ in range(count):
        name = made.choice([name for names in SETS.values() for name in names])
        part = name[: made.choice([len(name), len(name) - 1, 6])]
        if made.random() < 0.3:
            at = made.randrange(len(part))
            part = part[:at] + "x" + part[at + 1 :]
        needle = made.choice([part.lower(), part.upper()]).encode("utf-16-le")
        start = made.randrange(len(data) - len(needle))
        if start // CHUNK == (start + len(needle)) // CHUNK:
            data[start : start + len(needle)] = needle
    found = Search([[frozenset(names)]]).chunks(block(data))
    assert found >= naive(names, data)
    squeezed = [bytes(data[at : at + CHUNK]).replace(b"\0", b"").lower() for at in (0, CHUNK)]
    assert found <= {at for at in (0, 1) if any(name.lower().encode() in squeezed[at] for name in names)}


def test_parts_of_a_text_side_by_side_are_not_the_text():
    name = THUMBPRINTS[0]
    data = utf16(name[:-1] + "0" + name, odd=True)[:-3] + b"\x07"
    assert search_for(frozenset({name})).chunks(block(data)) == set()


def test_a_text_behind_a_false_start_in_the_same_chunk_is_found():
    name = THUMBPRINTS[0]
    data = utf16(name[:-1], odd=True) + utf16(name, odd=False)
    assert search_for(frozenset({name})).chunks(block(data)) == {0}


def test_a_last_chunk_that_is_cut_off_is_searched():
    data = bytearray(CHUNK + 1003)
    needle = THUMBPRINTS[3].encode("utf-16-le")
    data[-len(needle) :] = needle
    assert search_for(frozenset(THUMBPRINTS)).chunks(block(data)) == {1}
    assert search_for(frozenset(THUMBPRINTS)).chunks(block(b"")) == set()


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("text", ["800B0109", "800b0109", "800B010a"])
def test_codes_are_found_in_both_cases_at_any_place(text, odd):
    search = Search([[frozenset(CODES)]])
    assert search.chunks(block(utf16(text, odd=odd))) == {0}
    assert search.chunks(block(utf16("800B010B", odd=odd))) == set()
    assert search.chunks(block(utf16("Lsass.EXE", odd=odd))) == set()
    assert Search([[frozenset({"lsass.exe", "w3wp.exe"})]]).chunks(block(utf16("Lsass.EXE", odd=odd))) == {0}


def test_every_set_of_a_signal_is_needed_and_one_signal_is_enough():
    search = Search([[frozenset({"first"}), frozenset({"second"})], [frozenset({"800b0109"})]])
    texts = ["first", "second", "first second", "800B0109"]
    assert [search.chunks(block(utf16(text, odd=True))) for text in texts] == [set(), set(), {0}, {0}]
    assert [search.in_text(f"<A>{text}</A>") for text in texts] == [False, False, True, True]


def test_a_signal_without_a_text_may_be_anywhere_and_no_signal_is_nowhere():
    data = block(bytes(CHUNK + 1))
    assert Search([[frozenset({"first"})], []]).chunks(data) == {0, 1}
    assert Search([[frozenset({"first"})], []]).in_text("nothing")
    assert Search([]).chunks(data) == set()
    assert not Search([]).in_text("anything")


def test_two_signals_that_share_a_text_are_both_found():
    search = Search([[frozenset({"800b0109"}), frozenset({"lsass.exe"})], [frozenset({"800b0109", "800b010a"})]])
    assert search.chunks(block(utf16("800B010A", odd=True))) == {0}
    search = Search([[frozenset({"800b0109"}), frozenset({"lsass"})], [frozenset({"800b010a"}), frozenset({"edge"})]])
    assert search.chunks(block(utf16("800B010A edge", odd=True))) == {0}
    assert search.chunks(block(utf16("800B010A lsass", odd=True))) == set()


def test_more_names_than_are_worth_a_search_are_found_by_decoding():
    names = frozenset(f"{number % 10}{number:039X}" for number in range(100_000, 100_400, 7))
    search = search_for(names)
    assert search.chunks(block(bytes(3 * CHUNK))) == {0, 1, 2}
    assert search.in_text(f'fileRef="0{100_070:039x}.cer"')
    assert not search.in_text(f'fileRef="1{100_070:039x}.cer"')


def test_a_name_that_xml_may_write_in_more_than_one_way_may_be_anywhere():
    assert search_for(frozenset({"TASK & 7"})).chunks(block(bytes(CHUNK))) == {0}
    assert search_for(frozenset({"STRASSE", "STRAßE"})).chunks(block(bytes(CHUNK))) == {0}
