"""A first look at each source: its digest, its syntax, and whether another source has the same contents."""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import closing
from io import BytesIO
from typing import BinaryIO

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.discover import Input
from evtx_analyzer.discover.hashing import LARGE, Digest, Digests, is_local_file
from evtx_analyzer.discover.source import Source
from evtx_analyzer.errors import is_unforeseen, unforeseen
from evtx_analyzer.ingest.copies import first_of, rows_digest
from evtx_analyzer.ingest.streams import Contents, Progress, failure, opened
from evtx_analyzer.read import CAPTURE, HEAD, notes, recognize
from evtx_analyzer.read.encoding import as_text

NEEDLE = "5.7.64"
_REPEATED = "it holds the same contents {} times, one after the other, and they count once"
OWN_REPORT = "a report that this program made: it is no evidence"
# A saved report as JSON or HTML. Reports hold the text 5.7.64, and often lie in the folder of their logs.
_OWN_REPORT = re.compile(
    r'\{\s*"schema_version":\s*\d+,\s*"tool":\s*\{\s*"name":\s*"evtx-analyzer"'
    r'|<!doctype html>(?s:.{0,600})<meta name="generator" content="evtx-analyzer',
    re.IGNORECASE,
)
_BEGINNING = 4096
_BLOCK = 1 << 20
EVENT_LOG, WITHOUT_FACTS = "event-log", "message-export"
_EVENT_SYNTAXES = ("evtx", "event-xml", "event-json", "event-csv", WITHOUT_FACTS)
_NO_TEXT_LOGS = (*_EVENT_SYNTAXES, CAPTURE)
_HEADLESS = ("exchange-log", "iis-log", "ncsa-log")
"""Logs whose rows may come without a header, which else shows that another copy begins."""
_LARGE_LOGS = ("evtx", "exchange-log", "w3c-log", CAPTURE)
Inputs = Input | Sequence[Input]


def source_paths(inputs: Inputs) -> list[Input]:
    """Return the inputs as a list, whether the caller passed one or several."""
    return [inputs] if isinstance(inputs, str | os.PathLike | Source) else list(inputs)


class ExaminedSource(Struct, frozen=True, kw_only=True):
    """A source after a first look: its digest, its syntax (None if unknown), and whether it holds ``5.7.64``.

    ``holds_code`` is None where that was not looked for: it matters only where nothing else can be made of it.
    While the digest is still ``pending``, ``sha256`` is empty and ``size`` what the folder says; ``with_digest`` waits.
    ``head`` is a checksum of the beginning: where it differs, so do the contents. ``crc`` is the CRC-32 of all bytes.
    ``zeroed`` is set where the bytes by which a file is recognized are all 0. ``part`` is the number of bytes to be
    read where the rest repeats them, else 0. ``rows_digest`` is that of a small log (``copies.rows_digest``).
    """

    source: Source
    sha256: str
    size: int
    syntax: str | None
    holds_code: bool | None
    error: str = ""
    duplicate_of: str = ""
    notes: tuple[str, ...] = ()
    pending: Future[Digest] | None = None
    head: int = 0
    zeroed: bool = False
    crc: int | None = None
    part: int = 0
    rows_digest: str = ""

    @property
    def contents(self) -> Contents | None:
        """Size and checksum of what is read and the digest covers; None where that is not the same, or not known."""
        return None if self.crc is None or self.part else Contents(self.size, self.crc)

    @property
    def length(self) -> int:
        """The number of bytes to be read."""
        return self.part or self.size


def examine(source: Source, progress: Progress, digests: Digests | None = None) -> ExaminedSource:
    """Return a source with digest and syntax, read once; one that cannot be read has an ``error``.

    Nothing is raised. With ``digests``, the digest of a large log in a local file is only begun, and the file is not
    read further here; what must be unpacked is read ahead by a thread.
    """
    if source.fault:
        return _not_read(source, source.size, source.fault)
    try:
        return _first_look(source, progress, digests)
    except BaseException as error:
        if not is_unforeseen(error):
            raise
        return _not_read(source, source.size, unforeseen(source.path, error))


def _first_look(source: Source, progress: Progress, digests: Digests | None) -> ExaminedSource:
    """Return a source that was read to its end, or to its beginning only where its digest is ``pending``."""
    digest, size, holds, tail, crc, block = hashlib.sha256(), 0, False, b"", 0, b""
    known = ExaminedSource(source=source, sha256="", size=0, syntax=None, holds_code=False)
    try:
        with closing(opened(source, ahead=digests is not None)) as stream:
            while more := stream.read(_BLOCK):
                block = more
                if not size:
                    known = _recognized(source, block[:HEAD])
                    if digests and known.syntax in _LARGE_LOGS and source.size >= LARGE and is_local_file(stream):
                        known = _with_part(known, stream, source.size)
                        return replace(known, pending=digests.begin(source))
                size += len(block)
                digest.update(block)
                crc = zlib.crc32(block, crc)

                # The text may cross the end of a block, and takes four bytes a letter in UTF-32.
                looks = known.syntax not in _NO_TEXT_LOGS and OWN_REPORT not in known.notes
                holds = holds or (looks and _holds_code(tail + block))
                tail = block[-4 * len(NEEDLE) :]
                progress(source.path, len(block))
            ended = failure(stream)
    except OSError as error:
        return _unreadable(source, size, error)
    # A log that ends in damage is read up to there, and the loss is recorded by that reading.
    error_text = f"{ended} (after {size:,} bytes)" if ended and known.syntax is None else ""
    known = replace(known, sha256=digest.hexdigest(), size=size, holds_code=holds, error=error_text, crc=crc)
    # Only what is at hand as a whole: a large member of an archive is not unpacked once more for this.
    if known.syntax is None or known.syntax in _NO_TEXT_LOGS or size > len(block):
        return known
    known = _with_part(known, BytesIO(block), size)
    return replace(known, rows_digest=rows_digest(block[: known.length]))


def _with_part(source: ExaminedSource, stream: BinaryIO, size: int) -> ExaminedSource:
    """Return a source of which only a part is read where the rest repeats it."""
    part = 0
    if source.syntax not in _NO_TEXT_LOGS:
        stream.seek(0)
        headless = source.syntax in _HEADLESS and b"#" not in stream.read(_BEGINNING)
        part = first_of(stream, size, headless=headless)
    if not part:
        return source
    times = _REPEATED.format(size // part)
    return replace(source, part=part, notes=(*source.notes, times))


def _recognized(source: Source, head: bytes) -> ExaminedSource:
    """Return a source of which only the beginning was looked at."""
    own = _OWN_REPORT.match(as_text(head[:_BEGINNING])) is not None
    syntax = None if own else recognize(head)
    return ExaminedSource(
        source=source,
        sha256="",
        size=source.size,
        syntax=syntax,
        holds_code=None,
        notes=(OWN_REPORT,) if own else notes(syntax, head),
        head=zlib.crc32(head),
        zeroed=syntax is None and not head.strip(b"\0"),
    )


def _unreadable(source: Source, size: int, error: OSError) -> ExaminedSource:
    return _not_read(source, size, f"cannot be opened or read: {error.strerror or error}")


def _not_read(source: Source, size: int, error: str) -> ExaminedSource:
    return ExaminedSource(source=source, sha256="", size=size, syntax=None, holds_code=False, error=error)


def with_digest(source: ExaminedSource) -> ExaminedSource:
    """Return the source with its digest, after waiting for it; with an ``error`` if the file failed meanwhile."""
    if source.pending is None:
        return source
    sha256, size, crc, error = source.pending.result()
    if error is not None:
        return _unreadable(source.source, size, error)
    return replace(source, sha256=sha256, size=size, crc=crc, pending=None)


def without_copies(examined: Iterable[ExaminedSource]) -> list[ExaminedSource]:
    """Return the sources; those with the same contents as an earlier one are marked, so nothing counts twice.

    Digests that are pending are only waited for where another source has the same size and begins in the same way.
    """
    unsettled = list(examined)
    alike = Counter((source.size, source.head) for source in unsettled)
    first: dict[str, str] = {}
    rows: dict[str, str] = {}
    sources = []
    settled = [with_digest(source) if alike[source.size, source.head] > 1 else source for source in unsettled]
    for source in settled:
        known = source.size and not source.error and source.pending is None
        path = source.source.path
        original = first.setdefault(source.sha256, path) if known else path
        if known and source.rows_digest and original == path:
            original = rows.setdefault(source.rows_digest, path)
        sources.append(source if original == path else replace(source, duplicate_of=original))
    return sources


def holds_code(source: ExaminedSource) -> bool:
    """Return whether a source holds the text 5.7.64; it is read once more if that is not known. Raises OSError."""
    if source.holds_code is not None or source.syntax in _NO_TEXT_LOGS:
        return bool(source.holds_code)
    tail = b""
    with closing(source.source.open()) as stream:
        while block := stream.read(_BLOCK):
            if _holds_code(tail + block):
                return True
            tail = block[-4 * len(NEEDLE) :]
    return False


def _holds_code(data: bytes) -> bool:
    """Return whether bytes hold the code in UTF-8, or in UTF-16 or UTF-32, where zeros stand between its letters."""
    return NEEDLE.encode() in data or (b"\0" in data and NEEDLE.encode() in data.replace(b"\0", b""))


def is_event_log(source: ExaminedSource) -> bool:
    """Return whether a source holds Windows events."""
    return source.syntax in _EVENT_SYNTAXES and not source.duplicate_of


def is_text_log(source: ExaminedSource) -> bool:
    """Return whether a source is a text log with rows."""
    return source.syntax is not None and source.syntax not in _NO_TEXT_LOGS and not source.duplicate_of


def is_network_trace(source: ExaminedSource) -> bool:
    """Return whether a source holds packets."""
    return source.syntax == CAPTURE and not source.duplicate_of
