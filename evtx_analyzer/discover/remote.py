"""Read objects of an object store (``s3://``, ``abfs://``, ``memory://``) as files, through fsspec (extra ``cloud``).

An object is fetched once, into a temporary file without a name (in memory up to 16 MiB), because a case is read more
than once. fsspec itself takes credentials and endpoints from its configuration files and environment variables such as
``FSSPEC_S3_ENDPOINT_URL``.
"""

from __future__ import annotations

import io
import posixpath
import tempfile
import weakref
from typing import IO, Any, BinaryIO, cast

from evtx_analyzer.discover.source import Source, View
from evtx_analyzer.errors import InputError
from evtx_analyzer.model.origin import Origin

_IN_MEMORY = 16 << 20
_BLOCK = 1 << 20


def is_url(text: str) -> bool:
    """Return whether an input is the URL of an object; the letter of a drive is no protocol."""
    protocol, separator, _ = text.partition("://")
    return bool(separator) and len(protocol) > 1 and protocol.isalnum()


def listing(url: str) -> list[tuple[str, int]]:
    """Return URL and size of an object, of every object below a folder, or of every match of a pattern; sorted.

    Raises InputError where the store cannot be read, as all functions here do.
    """
    return [(name, int(info.get("size") or 0)) for name, info in _details(url)]


def versions(url: str) -> list[tuple[str, str]]:
    """Return URL and version of the same objects; the version is empty where the store shows none.

    A version is the size with the entity tag or the time of the last change: ``ETag`` and ``LastModified`` (S3),
    ``etag`` and ``last_modified`` (Azure), or ``mtime``.
    """
    keys = ("ETag", "etag", "LastModified", "last_modified", "mtime")
    return [
        (name, f"{info.get('size')} {change}" if (change := next(filter(None, map(info.get, keys)), "")) else "")
        for name, info in _details(url)
    ]


def _details(url: str) -> list[tuple[str, dict[str, Any]]]:
    """Return URL and what fsspec shows of the objects of a URL, sorted by URL."""
    system, path = _system(url)
    try:
        if any(sign in path for sign in "*?["):
            objects = system.glob(path, detail=True)
        elif system.isdir(path):
            objects = system.find(path, detail=True)
        else:
            objects = {path: system.info(path)}
    except FileNotFoundError:
        raise InputError(f"{url}: no such object; check the address") from None
    except Exception as error:  # noqa: BLE001  the boundary of a store: every driver has errors of its own
        raise InputError(f"{url}: the store cannot be read: {_line(error)}") from None
    return sorted(((system.unstrip_protocol(name), info) for name, info in objects.items()), key=lambda pair: pair[0])


def children(url: str) -> list[tuple[str, int, bool]] | None:
    """Return URL, size, and whether it is a folder, of everything directly in a folder; None where ``url`` is none."""
    system, path = _system(url)
    try:
        if any(sign in path for sign in "*?[") or not system.isdir(path):
            return None
        entries = system.ls(path, detail=True)
    except Exception as error:  # noqa: BLE001  the boundary of a store, as above
        raise InputError(f"{url}: the store cannot be read: {_line(error)}") from None
    rows = [
        (system.unstrip_protocol(entry["name"]), int(entry.get("size") or 0), entry["type"] == "directory")
        for entry in entries
        if entry["name"].rstrip("/") != path.rstrip("/")  # some stores list the folder itself
    ]
    return sorted(rows)


def remote_sources(url: str) -> list[Source]:
    """Return an object, or all objects below a folder, as sources; their names begin below the folder of them all."""
    objects = listing(url)
    if not objects:
        raise InputError(f"{url}: no object lies there; check the address")
    names = [name for name, _ in objects]
    # commonpath leaves only one of the two slashes behind the protocol.
    common = posixpath.commonpath([posixpath.dirname(name) for name in names]).replace(":/", "://", 1)
    top = posixpath.dirname(names[0]) if len(names) == 1 else common
    return [
        Source(origin=Origin(source=name[len(top) :].lstrip("/")), size=size, open=_Fetched(name).open)
        for name, size in objects
    ]


def _system(url: str) -> tuple[Any, str]:
    """Return the file system of fsspec for a URL, and the path in it."""
    protocol = url.partition("://")[0]
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415  of the extra ``cloud``, which may not be installed

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
    """An object that is fetched when it is opened for the first time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._file: IO[bytes] | None = None

    def open(self) -> BinaryIO:
        if self._file is None:
            self._file = self._fetch()
            weakref.finalize(self, self._file.close).atexit = False
        return cast("BinaryIO", io.BufferedReader(View(self._file, self)))

    def _fetch(self) -> IO[bytes]:
        system, path = _system(self._url)
        spool: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  closed with this object
        try:
            with system.open(path, "rb") as stream:
                while block := stream.read(_BLOCK):
                    spool.write(block)
        except Exception as error:
            spool.close()
            raise OSError(f"the object cannot be fetched: {_line(error)}") from error
        return spool
