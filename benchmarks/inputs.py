"""Inputs of any size: a CAPI2 export and Send connector logs, made of the samples' events and sessions.

Made fast: some chunks and blocks are written once with the samples' own writers and then repeated, with new record
ids, times and checksums (EVTX), and with new times and session ids (logs).
"""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from samples import cases
from samples.capi2 import Recorder, check
from samples.evtx_writer import CHUNK_HEADER_SIZE, CHUNK_SIZE, FILE_HEADER_SIZE, write_evtx
from samples.smtp import REFUSAL, SEND_HEADER, SendSession, iso

START = datetime(2016, 12, 1, tzinfo=UTC)
_ACCEPTED = "250 2.1.5 Recipient OK"
_VALUES = 4 + 4 * 20  # count and descriptors of a record's values
_SYSTEM_TIME, _RECORD_ID = 14, 30  # where these stand in the values of the System template
_HOUR = 36_000_000_000  # FILETIME


def capi2(path: Path, size: int, hits: float) -> None:
    """A CAPI2 export of about ``size`` bytes in which the share ``hits`` of chunks holds failures of mail's kind."""
    quiet, loud = _chunks(failing=False), _chunks(failing=True)
    count = max(1, size // CHUNK_SIZE)
    with path.open("wb") as out:
        out.write(bytes(FILE_HEADER_SIZE))
        record = 1
        for number in range(count):
            wanted = int((number + 1) * hits) > int(number * hits)
            chunk = (loud if wanted else quiet)[number % 8]
            moved, record = _moved(chunk, record, number)
            out.write(moved)
        start = struct.pack(
            "<8sQQQIHHHH", b"ElfFile\0", 0, count - 1, record, 128, 1, 3, FILE_HEADER_SIZE, count & 0xFFFF
        )
        start = start.ljust(120, b"\0")
        out.seek(0)
        out.write(start + struct.pack("<II", 0, zlib.crc32(start)))


def _chunks(*, failing: bool) -> list[bytes]:
    """Eight full chunks of code signing checks; with one failure of the mail server's certificate in each."""
    recorder = Recorder(cases.HOST)
    made = []
    for _ in range(8):
        recorder.events.clear()
        if failing:
            check(
                recorder,
                START,
                [(cases.LEAF, 0)],
                policy_result="800B0109",
                chain_result="800B010A",
                chain_error=0x10000,
                seed=f"{recorder.next_record}",
            )
        # The samples' noise, without its routine failures: these are what the share of hits is about.
        while len(recorder.events) < 80:
            cases.noise(recorder, START + timedelta(seconds=7 * len(recorder.events)), 9)
        data = write_evtx(recorder.events)
        made.append(data[FILE_HEADER_SIZE : FILE_HEADER_SIZE + CHUNK_SIZE])
    return made


def _moved(chunk: bytes, record: int, hours: int) -> tuple[bytes, int]:
    """The chunk with ids from ``record`` on and times that many hours later; and the id after its last one."""
    data = bytearray(chunk)
    first, free, definition = record, struct.unpack_from("<I", data, 48)[0], CHUNK_HEADER_SIZE + 38
    at = CHUNK_HEADER_SIZE
    while at < free:
        values = at + 38 + _VALUES
        if at == CHUNK_HEADER_SIZE:
            values += 24 + struct.unpack_from("<I", data, definition + 20)[0]
        time = struct.unpack_from("<Q", data, values + _SYSTEM_TIME)[0] + hours * _HOUR
        struct.pack_into("<QQ", data, at + 8, record, time)
        struct.pack_into("<Q", data, values + _SYSTEM_TIME, time)
        struct.pack_into("<Q", data, values + _RECORD_ID, record)
        record += 1
        at += struct.unpack_from("<I", data, at + 4)[0]
    struct.pack_into("<QQQQ", data, 8, first, record - 1, first, record - 1)
    struct.pack_into("<I", data, 52, zlib.crc32(data[CHUNK_HEADER_SIZE:free]))
    struct.pack_into("<I", data, 124, zlib.crc32(data[:120] + data[128:CHUNK_HEADER_SIZE]))
    return bytes(data), record


def send_log(path: Path, size: int, refused: float) -> None:
    """A Send connector log of about ``size`` bytes, twenty sessions at a time; the share ``refused`` is refused."""
    good, bad = _session(_ACCEPTED), _session(REFUSAL)
    written, number, time = 0, 0, START
    with path.open("w", encoding="utf-8", newline="") as out:
        out.write(SEND_HEADER.format(date=iso(START)))
        while written < size:
            waves = []
            for slot in range(20):
                wanted = int((number + 1) * refused) > int(number * refused)
                waves.append(
                    (
                        bad if wanted else good,
                        f"{0x08D50D3D00000000 + number:016X}",
                        time + timedelta(milliseconds=slot),
                    )
                )
                number += 1
            lines = []
            for row in range(max(len(rows) for rows, _, _ in waves)):
                for rows, session, start in waves:
                    if row < len(rows):
                        after, text = rows[row]
                        stamp = f"{iso(start)[:17]}{(start.microsecond // 1000 + after) / 1000 % 60:06.3f}Z"
                        lines.append(f"{stamp}{text.replace('SESSION', session)}\r\n")
            block = "".join(lines)
            out.write(block)
            written += len(block)
            time += timedelta(seconds=4)


def _session(reply: str) -> list[tuple[int, str]]:
    """Rows of one session as (milliseconds after its start, what follows the time)."""
    session = SendSession(START, "SESSION").connect().starttls(cases.LEAF)
    session.message(700, "a@servername.com", [("b@fabrikam.com", reply)], 1).quit(1300)
    return [(after, text[24:]) for (after, *_), (_, text) in zip(session.rows, session.lines(), strict=True)]
