"""Limit what is read of archives, and read every member through one stream that counts.

Sizes in headers may be wrong, so only bytes that were really read count. A member that is damaged in its middle ends
there: what came before is used, and ``failure`` is the reason. A limit that stops a member in the first reading stops
it at the same byte in the next one, for bytes that were counted do not count again.
"""

from __future__ import annotations

import codecs
import errno
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from evtx_analyzer.errors import OptionError

GRACE = 64 << 20
"""Bytes below which no ratio counts: a nearly empty log of 20 MB packs a thousand times smaller, and is no bomb."""
_STEP = 64 * 1024
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


class Raw(Protocol):
    """The stream of a decompressor."""

    def read(self, size: int = -1, /) -> bytes: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class Limits(Struct, frozen=True, kw_only=True):
    """What may be read of the archives of one case.

    ``total_bytes`` counts everything that is unpacked, nested archives too. ``ratio`` is unpacked to packed size, of
    one member and of one outer archive. ``depth`` is how many archives may be inside each other; a ``.tar.gz`` is two.
    ``members`` counts the members of all archives. ``name_length`` is in characters.
    """

    total_bytes: int = 100 << 30
    ratio: int = 200
    depth: int = 6
    members: int = 100_000
    name_length: int = 1000


PASSWORD_VARIABLE = "EVTX_ANALYZER_PASSWORD"  # noqa: S105  the name of a variable


def read_password(file: str | Path | None) -> bytes | None:
    """Return the password for encrypted archives: the first line of a file, without one that of the environment.

    It is never an argument, which other users of the machine could see. Raises OptionError for a file without one.
    """
    if file is None:
        password = os.environ.get(PASSWORD_VARIABLE)
        return password.encode() if password else None
    try:
        written = Path(file).read_bytes()
    except OSError as error:
        raise OptionError(f"--password-file {file}: cannot be read ({error.strerror})") from None
    # Windows PowerShell's > and Notepad write byte order marks, and the former UTF-16.
    if written.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        written = written.decode("utf-16", "replace").encode()
    lines = written.removeprefix(codecs.BOM_UTF8).splitlines()
    if not lines or not lines[0]:
        raise OptionError(f"--password-file {file}: the first line is empty; it must hold the password")
    return lines[0]


class LimitError(OSError):
    """A limit was reached; the text names the option that raises it."""


class Budget:
    """What was read of the archives of a case so far; it grows with the number of members."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._seen: dict[str, int] = {}
        self._of_outer: dict[str, int] = {}
        self._total = 0
        self._members = 0

    def enter(self, name: str) -> None:
        """Count a member; raises LimitError where there are too many, or its name is too long."""
        self._members += 1
        if self._members > self.limits.members:
            raise LimitError(f"more than {self.limits.members:,} members (--max-members)")
        if len(name) > self.limits.name_length:
            raise LimitError(f"a name of {len(name):,} characters, more than {self.limits.name_length:,} (--max-name)")

    def charge(self, key: str, position: int, packed: int | None, outer: str, outer_size: int) -> None:
        """Count that a member was read up to ``position``; raises LimitError where that is too much."""
        ratio = self.limits.ratio
        if packed is not None and position > max(GRACE, ratio * packed):
            raise LimitError(f"unpacks to more than {ratio} times its size, as a bomb does (--max-ratio)")
        more = position - self._seen.get(key, 0)
        if more <= 0:
            return
        if self._total + more > self.limits.total_bytes:
            raise LimitError(f"the archives unpack to more than {self.limits.total_bytes:,} bytes (--max-unpacked)")
        of_outer = self._of_outer.get(outer, 0) + more
        if of_outer > max(GRACE, ratio * outer_size):
            raise LimitError(f"{outer} unpacks to more than {ratio} times its size, as a bomb does (--max-ratio)")
        self._seen[key] = position
        self._total += more
        self._of_outer[outer] = of_outer


class MemberStream:
    """A member of an archive, read forwards; ``failure`` is the reason why it ended too early, or empty."""

    def __init__(self, opened: Callable[[], Raw], charge: Callable[[int], None], crc: int | None) -> None:
        self.failure = ""
        self._charge, self._crc, self._running, self._position = charge, crc, 0, 0
        self._raw: Raw | None = None
        self._ended = False
        try:
            self._raw = opened()
        except Exception as error:  # noqa: BLE001  the boundary of a member: libraries raise any kind on damage
            self._fail(error)

    def read(self, size: int = -1) -> bytes:
        """Return ``size`` bytes, fewer only at the end."""
        parts: list[bytes] = []
        left = size
        while not self._ended and left != 0:
            part = self._step(_STEP if left < 0 else min(left, _STEP))
            parts.append(part)
            left -= len(part) if left > 0 else 0
        return b"".join(parts)

    def _step(self, size: int) -> bytes:
        assert self._raw is not None
        try:
            # read1 where there is one: where an error follows, read loses the bytes before it.
            part: bytes = getattr(self._raw, "read1", self._raw.read)(size)
            self._charge(self._position + len(part))
        except Exception as error:  # noqa: BLE001  the boundary of a member, as above
            self._fail(error)
            return b""
        self._position += len(part)
        self._running = zlib.crc32(part, self._running)
        if not part:
            self._ended = True
            if self._crc is not None and self._running != self._crc:
                self.failure = "its checksum does not match: the contents may be wrong"
        return part

    def _fail(self, error: Exception) -> None:
        self._ended = True
        self.failure = reason(error)

    def close(self) -> None:
        """Release the decompressor."""
        if self._raw is not None:
            self._raw.close()


def no_room(error: OSError) -> str:
    """Return the reason where a temporary file cannot be written, which is no fault of the archive."""
    return f"not unpacked: no temporary file can be written ({error.strerror}); set TMPDIR (TEMP) to a folder with room"


def reason(error: BaseException) -> str:
    """Return in one line why a member could not be read."""
    if isinstance(error, LimitError):
        return f"stopped: {error}"
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return no_room(error)
    text = str(getattr(error, "strerror", None) or error).strip().split("\n")[0]
    if isinstance(error, RuntimeError) and "password" in text.lower():
        return "encrypted, and the password given is not its password"
    return f"damaged: {text or type(error).__name__}"
