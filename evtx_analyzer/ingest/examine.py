"""A first look at each source: its digest, its syntax, and whether its contents came before."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import closing
from io import BytesIO
from typing import BinaryIO, cast

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.discover import Input
from evtx_analyzer.discover.hashing import LARGE, Digest, Digests, is_local_file
from evtx_analyzer.discover.read_ahead import Ahead
from evtx_analyzer.discover.source import Source
from evtx_analyzer.read import HEAD, notes, recognize
from evtx_analyzer.read.streams import read_into

NEEDLE = "5.7.64"
_HOLDS_CODE = "; it holds the text 5.7.64"
_BLOCK = 1 << 20
_EVENT_LOG, _WITHOUT_FACTS = "event-log", "message-export"
_EVENT_SYNTAXES = ("evtx", "event-xml", "event-json", "event-csv", _WITHOUT_FACTS)
_LARGE_LOGS = ("evtx", "exchange-log", "w3c-log")
Inputs = Input | Sequence[Input]
Progress = Callable[[str, int], None]


def silent(path: str, size: int) -> None:
    """Show no progress."""


def source_paths(inputs: Inputs) -> list[Input]:
    """Return the inputs as a list, whether one or several were given."""
    return [inputs] if isinstance(inputs, str | os.PathLike | Source) else list(inputs)


class ExaminedSource(Struct, frozen=True, kw_only=True):
    """A source after a first look: its digest, its syntax (None if unknown), and whether it holds ``5.7.64``.

    ``holds_code`` is None where that was not looked for: it matters only where nothing else can be made of it.
    While the digest is still ``pending``, ``sha256`` is empty and ``size`` what the folder says; ``with_digest`` waits.
    ``head`` is a checksum of the beginning: where it differs, so do the contents.
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


def examine(source: Source, progress: Progress, digests: Digests | None = None) -> ExaminedSource:
    """Read a source once for its digest and syntax; one that cannot be read is noted, and nothing is raised.

    With ``digests``, the digest of a large log in a local file is only begun, and the file is not read further here;
    what must be unpacked is read ahead by a thread.
    """
    if source.fault:
        return ExaminedSource(
            source=source, sha256="", size=source.size, syntax=None, holds_code=False, error=source.fault
        )
    digest, size, holds, syntax, tail, head = hashlib.sha256(), 0, False, None, b"", 0
    said: tuple[str, ...] = ()
    try:
        with closing(_opened(source, ahead=digests is not None)) as stream:
            while block := stream.read(_BLOCK):
                if not size:
                    syntax = recognize(block[:HEAD])
                    said = notes(syntax, block)
                    head = zlib.crc32(block[:HEAD])
                    if digests and syntax in _LARGE_LOGS and source.size >= LARGE and is_local_file(stream):
                        return ExaminedSource(
                            source=source,
                            sha256="",
                            size=source.size,
                            syntax=syntax,
                            holds_code=None,
                            notes=said,
                            pending=digests.begin(source),
                            head=head,
                        )
                size += len(block)
                digest.update(block)
                holds = holds or (syntax not in _EVENT_SYNTAXES and _holds_code(tail + block))
                tail = block[-2 * len(NEEDLE) :]
                progress(source.path, len(block))
            failure = _failure(stream)
    except OSError as error:
        return _unreadable(source, size, error)
    # Of a log that ends in damage everything before it is read, and the loss is told then.
    error_text = f"{failure} (after {size:,} bytes)" if failure and syntax is None else ""
    return ExaminedSource(
        source=source,
        sha256=digest.hexdigest(),
        size=size,
        syntax=syntax,
        holds_code=holds,
        error=error_text,
        notes=said,
        head=head,
    )


def _unreadable(source: Source, size: int, error: OSError) -> ExaminedSource:
    reason = f"cannot be opened or read: {error.strerror or error}"
    return ExaminedSource(source=source, sha256="", size=size, syntax=None, holds_code=False, error=reason)


def with_digest(item: ExaminedSource) -> ExaminedSource:
    """Return the same source with its digest, waiting until it is made. A file that failed meanwhile is unreadable."""
    if item.pending is None:
        return item
    sha256, size, error = item.pending.result()
    if error is not None:
        return _unreadable(item.source, size, error)
    return replace(item, sha256=sha256, size=size, pending=None)


def without_copies(examined: Iterable[ExaminedSource]) -> list[ExaminedSource]:
    """Return the same sources; those whose contents came before are marked as duplicates, so nothing counts twice.

    Digests that are pending are only waited for where another source has the same size and begins in the same way.
    """
    given = list(examined)
    alike = Counter((item.size, item.head) for item in given)
    first: dict[str, str] = {}
    found = []
    for item in [with_digest(item) if alike[item.size, item.head] > 1 else item for item in given]:
        known = item.size and not item.error and item.pending is None
        original = first.setdefault(item.sha256, item.source.path) if known else item.source.path
        found.append(item if original == item.source.path else replace(item, duplicate_of=original))
    return found


def _opened(source: Source, *, ahead: bool) -> BinaryIO:
    """Open a source; with ``ahead``, what must be unpacked or fetched is read by a thread of its own."""
    stream = source.open()
    if ahead and source.size >= LARGE and not is_local_file(stream) and not isinstance(stream, BytesIO):
        return cast("BinaryIO", Ahead(stream))
    return stream


def _tells_of_refusals(item: ExaminedSource) -> bool:
    """Return whether a source holds the text 5.7.64; it is read once more if that is not known."""
    if item.holds_code is not None or item.syntax in _EVENT_SYNTAXES:
        return bool(item.holds_code)
    tail = b""
    try:
        with closing(item.source.open()) as stream:
            while block := stream.read(_BLOCK):
                if _holds_code(tail + block):
                    return True
                tail = block[-2 * len(NEEDLE) :]
    except OSError:
        return False  # told as a loss where it was read before
    return False


def _failure(stream: BinaryIO) -> str:
    """Return why a member of an archive ended too early; empty for files."""
    return str(getattr(stream, "failure", ""))


def _holds_code(data: bytes) -> bool:
    return NEEDLE.encode() in data or NEEDLE.encode("utf-16-le") in data or NEEDLE.encode("utf-16-be") in data


def is_event_log(item: ExaminedSource) -> bool:
    """Whether a source holds Windows events."""
    return item.syntax in _EVENT_SYNTAXES and not item.duplicate_of


def is_text_log(item: ExaminedSource) -> bool:
    """Whether a source is a text log with rows."""
    return item.syntax is not None and item.syntax not in _EVENT_SYNTAXES and not item.duplicate_of


class _Counted:
    """A stream that tells how much was read from it."""

    def __init__(self, stream: BinaryIO, path: str, progress: Progress) -> None:
        self._stream, self._path, self._progress = stream, path, progress

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._progress(self._path, len(data))
        return data

    def readinto(self, buffer: memoryview) -> int:
        size = read_into(self._stream, buffer)
        self._progress(self._path, size)
        return size
