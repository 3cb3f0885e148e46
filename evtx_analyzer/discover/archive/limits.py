"""What an archive may cost, and the stream through which every member is read.

Sizes in headers lie, so only bytes really read count. A member that goes wrong in its middle ends there: what came
before is kept, and ``failure`` says why it ended. A limit that stops a member in the first pass stops it at the same
byte in the next, for what was already counted is not counted again.
"""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from evtx_analyzer.errors import OptionError

GRACE = 64 << 20
"""Bytes before a ratio counts: a log of 20 MB that is nearly empty shrinks a thousand times and is no bomb."""
_STEP = 64 * 1024
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


class Raw(Protocol):
    """A stream that a decompressor gives."""

    def read(self, size: int = -1, /) -> bytes: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class Limits(Struct, frozen=True, kw_only=True):
    """What may be read out of the archives of one case.

    ``total_bytes`` counts everything unpacked, nested archives too; ``ratio`` is unpacked to packed size, of one
    member and of one outer archive; ``depth`` is how many archives may lie in each other, a ``.tar.gz`` being two;
    ``members`` counts the members of all archives; ``name_length`` is in characters.
    """

    total_bytes: int = 100 << 30
    ratio: int = 200
    depth: int = 6
    members: int = 100_000
    name_length: int = 1000


PASSWORD_VARIABLE = "EVTX_ANALYZER_PASSWORD"  # noqa: S105  the name of a variable


def read_password(file: str | Path | None) -> bytes | None:
    """The password for encrypted archives: the first line of a file, else of the environment; never an argument."""
    if file is None:
        given = os.environ.get(PASSWORD_VARIABLE)
        return given.encode() if given else None
    try:
        lines = Path(file).read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise OptionError(f"--password-file {file}: cannot be read ({error.strerror})") from None
    if not lines or not lines[0]:
        raise OptionError(f"--password-file {file}: the first line is empty; it must hold the password")
    return lines[0]


class LimitError(OSError):
    """A limit was reached; the text names the option that widens it."""


class Budget:
    """What was read so far; grows with the number of members."""

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
    """A member of an archive, read forwards; ``failure`` is empty or says why it ended too early."""

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
        """Up to ``size`` bytes; fewer only at the end."""
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
            # read1 where there is one: read would throw away what it has when an error comes behind it.
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
    """What to say where a temporary file cannot be written: the archive has no part in it."""
    return f"not unpacked: no temporary file can be written ({error.strerror}); set TMPDIR (TEMP) to a folder with room"


def reason(error: BaseException) -> str:
    """One line that says why a member could not be read."""
    if isinstance(error, LimitError):
        return f"stopped: {error}"
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return no_room(error)
    text = str(getattr(error, "strerror", None) or error).strip().split("\n")[0]
    if isinstance(error, RuntimeError) and "password" in text.lower():
        return "encrypted, and the password given is not its password"
    return f"damaged: {text or type(error).__name__}"
