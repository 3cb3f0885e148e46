"""Find the bundles of a batch; a bundle is one case of many.

A single folder stands for its contents: every subfolder and every archive is a bundle, and loose files together are
one. Of several inputs, of the matches of a glob and of the lines of a list (``@bundles.txt``), each is one bundle.
"""

from __future__ import annotations

import glob
import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from evtx_analyzer.discover import natural_key, real_path
from evtx_analyzer.discover.archive.formats import archive_kind
from evtx_analyzer.discover.remote import children, is_url, listing
from evtx_analyzer.errors import InputError

_ARCHIVES = ("zip", "7z", "cab", "rar", "tar")
_ARCHIVE_SUFFIXES = (".zip", ".7z", ".cab", ".rar", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tbz", ".txz")
_GLOB = "*?["
CONFIGURATION = "evtx-analyzer.toml"
"""The name of the file of options for the command line, which is no input (``cli/config.py`` reads it)."""


class Bundle(Struct, frozen=True, kw_only=True):
    """One case: its name in the summary, what to read, and its approximate size in bytes."""

    name: str
    inputs: tuple[str, ...]
    size: int = 0


def bundles(inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str] | Bundle]) -> list[Bundle]:
    """Return the bundles that the inputs name, in the order of names. Raises InputError for an input without any."""
    if isinstance(inputs, str | os.PathLike):
        inputs = [inputs]
    ready = [bundle for bundle in inputs if isinstance(bundle, Bundle)]
    texts = [os.fspath(path) for path in inputs if not isinstance(path, Bundle)]
    if not texts and not ready:
        raise InputError("no input: name a folder of bundles, archives, a glob, or a list as @bundles.txt")
    contents = _folder_of_bundles(texts[0]) if len(texts) == 1 and not ready else None
    cases = contents if contents is not None else ready + _each(texts)
    return sorted(cases, key=lambda bundle: natural_key(bundle.name))


def _folder_of_bundles(text: str) -> list[Bundle] | None:
    """Return the bundles in a folder; None if the input is no folder."""
    if is_url(text):
        members = children(text)
        if members is None:
            return None
        top = posixpath.basename(text.rstrip("/"))
        rows = [(posixpath.basename(url.rstrip("/")), url, size, folder) for url, size, folder in members]
        return _split(top, [(name, url, size, folder or _named_archive(name)) for name, url, size, folder in rows])
    path = Path(text)
    if not os.path.isdir(path):
        return None
    # A link that leads back to the folder itself, or above it, would count everything again.
    folder = real_path(path)
    above = {folder, *folder.parents}
    entries = sorted(
        entry for entry in _listed_folder(path) if real_path(entry) not in above and entry.name != CONFIGURATION
    )
    return _split(
        folder.name,
        [(entry.name, str(entry), _size(entry), os.path.isdir(entry) or _is_archive(entry)) for entry in entries],
    )


def _listed_folder(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError as error:
        raise InputError(f"{path}: the folder cannot be read ({error.strerror}); check its rights") from None


def _split(top: str, entries: Iterable[tuple[str, str, int, bool]]) -> list[Bundle]:
    """Return the bundles of a folder from its entries: name, address, size, and whether it is a bundle of its own."""
    loose: list[tuple[str, int]] = []
    cases = []
    for name, address, size, is_bundle in entries:
        if is_bundle:
            cases.append(Bundle(name=name, inputs=(address,), size=size))
        else:
            loose.append((address, size))
    if loose:
        files = tuple(address for address, _ in loose)
        cases.append(Bundle(name=top or "files", inputs=files, size=sum(size for _, size in loose)))
    return cases


def _each(texts: Iterable[str]) -> list[Bundle]:
    """Return one bundle for each input, named by its path below the folder that holds them all."""
    addresses = list(dict.fromkeys(address for text in texts for address in _expanded(text)))
    keys = [
        address.replace("://", ":/", 1) if is_url(address) else real_path(address).as_posix() for address in addresses
    ]
    parents = {posixpath.dirname(key.rstrip("/")) for key in keys}
    try:
        top = posixpath.commonpath(parents) if parents else ""
    except ValueError:  # paths and URLs, or two drives: nothing holds them all
        top = ""
    by_name: dict[str, Bundle] = {}
    for address, key in zip(addresses, keys, strict=True):
        name = key[len(top) :].strip("/") if top else key.rpartition(":")[2].strip("/")
        size = sum(size for _, size in listing(address)) if is_url(address) else _size(Path(address))
        by_name.setdefault(name, Bundle(name=name, inputs=(address,), size=size))
    return list(by_name.values())


def _expanded(text: str) -> Iterator[str]:
    if text.startswith("@"):
        yield from _listed(Path(text[1:]))
    elif is_url(text):
        yield from (url for url, _ in listing(text)) if any(sign in text for sign in _GLOB) else [text]
    elif any(sign in text for sign in _GLOB) and not os.path.exists(text):
        matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207  Path.glob takes no absolute pattern
        if not matches:
            raise InputError(f"{text}: nothing matches; check the pattern")
        yield from matches
    else:
        yield text


def _listed(path: Path) -> Iterator[str]:
    """Yield the paths and URLs in a list; paths are relative to the list, and ``#`` begins a comment."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"@{path}: the list cannot be read ({error}); expected one path or URL in each line") from None
    for line in lines:
        text = line.strip()
        if text and not text.startswith("#"):
            yield text if is_url(text) else str(path.parent / text)


def _is_archive(path: Path) -> bool:
    """Return whether a file is an archive of several members, unlike a single compressed log (``SEND1.LOG.gz``)."""
    if _named_archive(path.name):
        return True
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return archive_kind(stream.read(1024)) in _ARCHIVES
    except OSError:
        return False


def _named_archive(name: str) -> bool:
    return name.lower().endswith(_ARCHIVE_SUFFIXES)


def without_archive_suffix(name: str) -> str:
    """Return a bundle's name without ``.zip`` and its like."""
    longest = max((suffix for suffix in _ARCHIVE_SUFFIXES if name.lower().endswith(suffix)), key=len, default="")
    return name[: len(name) - len(longest)]


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; 0 if they cannot be counted."""
    try:
        if not os.path.isdir(path):
            return path.stat().st_size
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    except OSError:
        return 0
