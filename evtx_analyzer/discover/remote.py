"""Objects of a store (``s3://``, ``abfs://``, ``memory://``) as files, through fsspec (extra ``cloud``).

An object is fetched once, into a temporary file without a name (in memory up to 16 MiB), because a case is read more
than once. Credentials and endpoints are fsspec's own matter: ``FSSPEC_S3_ENDPOINT_URL`` and its configuration files.
"""

from __future__ import annotations

import io
import posixpath
import weakref
from typing import IO, Any, BinaryIO, cast

from evtx_analyzer.discover.source import Source
from evtx_analyzer.errors import InputError
from evtx_analyzer.model.origin import Origin

_IN_MEMORY = 16 << 20
_BLOCK = 1 << 20


def is_url(text: str) -> bool:
    """Whether an input names an object of a store; a drive letter is no protocol."""
    protocol, found, _ = text.partition("://")
    return bool(found) and len(protocol) > 1 and protocol.isalnum()


def listing(url: str) -> list[tuple[str, int]]:
    """URL and size of the object, of every object below the folder, or of every match of a glob; sorted."""
    return [(name, int(info.get("size") or 0)) for name, info in _details(url)]


def versions(url: str) -> list[tuple[str, str]]:
    """URL and version (entity tag, or size and time of the last change) of the same objects; empty where none is told.

    Stores call it differently: ``ETag`` and ``LastModified`` (S3), ``etag`` and ``last_modified`` (Azure), ``mtime``.
    """
    keys = ("ETag", "etag", "LastModified", "last_modified", "mtime")
    return [
        (name, f"{info.get('size')} {told}" if (told := next((info[key] for key in keys if info.get(key)), "")) else "")
        for name, info in _details(url)
    ]


def _details(url: str) -> list[tuple[str, dict[str, Any]]]:
    system, path = _system(url)
    try:
        if any(sign in path for sign in "*?["):
            found = system.glob(path, detail=True)
        elif system.isdir(path):
            found = system.find(path, detail=True)
        else:
            found = {path: system.info(path)}
    except FileNotFoundError:
        raise InputError(f"{url}: no such object; check the address") from None
    except Exception as error:  # noqa: BLE001  the boundary of a store: every driver has errors of its own
        raise InputError(f"{url}: the store cannot be read: {_line(error)}") from None
    return sorted(((system.unstrip_protocol(name), info) for name, info in found.items()), key=lambda pair: pair[0])


def children(url: str) -> list[tuple[str, int, bool]] | None:
    """URL, size and whether it is a folder of everything directly in a folder; None where the URL is no folder."""
    system, path = _system(url)
    try:
        if any(sign in path for sign in "*?[") or not system.isdir(path):
            return None
        found = system.ls(path, detail=True)
    except Exception as error:  # noqa: BLE001  the boundary of a store, as above
        raise InputError(f"{url}: the store cannot be read: {_line(error)}") from None
    rows = [
        (system.unstrip_protocol(item["name"]), int(item.get("size") or 0), item["type"] == "directory")
        for item in found
        if item["name"].rstrip("/") != path.rstrip("/")
    ]
    return sorted(rows)


def remote_sources(url: str) -> list[Source]:
    """Sources of an object or of all objects below a folder, named from there."""
    found = listing(url)
    if not found:
        raise InputError(f"{url}: no object lies there; check the address")
    whole = [item for item, _ in found]
    top = posixpath.dirname(whole[0]) if len(whole) == 1 else _common(whole)
    return [_source(item, size, item[len(top) :].lstrip("/")) for item, size in found]


def _common(urls: list[str]) -> str:
    """The folder that holds all; commonpath would make one slash of the two behind the protocol."""
    return posixpath.commonpath([posixpath.dirname(url) for url in urls]).replace(":/", "://", 1)


def _source(url: str, size: int, name: str) -> Source:
    fetched = _Fetched(url)
    return Source(origin=Origin(source=name), size=size, open=fetched.open)


def _system(url: str) -> tuple[Any, str]:
    protocol = url.partition("://")[0]
    # An extra.
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415

        system, path = url_to_fs(url)
    except ImportError as error:
        library = str(error).splitlines()[0] if "fsspec" not in str(error) else "fsspec is not installed"
        raise InputError(
            f"{url}: reading {protocol}:// needs a library ({library}): pip install 'evtx-analyzer[cloud]'"
        ) from None
    except Exception as error:  # noqa: BLE001  the boundary of a store, as above
        raise InputError(f"{url}: the store cannot be opened: {_line(error)}") from None
    return system, str(path)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class _Fetched:
    """An object that is fetched when it is first opened."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._file: IO[bytes] | None = None

    def open(self) -> BinaryIO:
        if self._file is None:
            self._file = self._fetch()
            weakref.finalize(self, self._file.close).atexit = False
        return cast("BinaryIO", io.BufferedReader(_View(self._file, self)))

    def _fetch(self) -> IO[bytes]:
        system, path = _system(self._url)
        from tempfile import SpooledTemporaryFile  # noqa: PLC0415  start-up cost: only where a URL is read

        spool: IO[bytes] = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  closed with this object
        try:
            with system.open(path, "rb") as stream:
                while block := stream.read(_BLOCK):
                    spool.write(block)
        except Exception as error:
            spool.close()
            raise OSError(f"the object cannot be fetched: {_line(error)}") from error
        return spool


class _View(io.RawIOBase):
    """A view of a fetched object with a position of its own; keeps the object while it is open."""

    def __init__(self, file: IO[bytes], owner: _Fetched) -> None:
        self._file, self._owner, self._position = file, owner, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401  any writable buffer, as io has it
        self._file.seek(self._position)
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, clue: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(clue)
        self._position = (self._file.seek(0, io.SEEK_END) if base is None else base) + offset
        return self._position

    def tell(self) -> int:
        return self._position
