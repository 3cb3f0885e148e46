"""Licences and sizes of what the program needs at run time, as the metadata of the installed packages say them.

    python packaging/licences.py [--extra NAME]... [--markdown]

fails (exit status 1) where one is GPL or AGPL and offers nothing else, or says nothing that is known. LGPL is listed:
the libraries are used as they are, by import, and can be replaced. docs/contributing.md holds the table.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROGRAM = "evtx-analyzer"
_WEAK = re.compile(r"LGPL|(?:LIBRARY OR )?LESSER GENERAL PUBLIC LICEN[CS]E")
_STRONG = re.compile(r"GPL|GENERAL PUBLIC LICEN[CS]E")  # looked for in what is left without the weak ones
_PERMISSIVE = re.compile(
    r"\bMIT\b|MIT-0|BSD|APACHE|\bISC\b|PSF|PYTHON SOFTWARE|MPL|MOZILLA|ZLIB|0BSD|CC0|UNLICENSE|PUBLIC DOMAIN|HPND"
)


class Package(NamedTuple):
    """An installed package: its version, licence in the words of its metadata, and size of its files in bytes."""

    name: str
    version: str
    licence: str
    size: int


def closure(name: str = PROGRAM, extras: Iterable[str] = ()) -> list[Package]:
    """Return all that a package needs on this system, sorted by name, itself left out.

    Raises importlib.metadata.PackageNotFoundError where one of them is not installed.
    """
    waiting, seen = [(name, frozenset(extras))], set[tuple[str, frozenset[str]]]()
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting += _needs(*current)
    names = sorted({canonicalize_name(item) for item, _ in seen} - {canonicalize_name(name)})
    return [_package(item) for item in names]


def _needs(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield what a package asks for here, each with its extras."""
    for text in metadata.distribution(name).requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": item}) for item in (*extras, "")):
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


def _package(name: str) -> Package:
    distribution = metadata.distribution(name)
    size = sum(file.size or 0 for file in distribution.files or ())
    return Package(name, distribution.version, licence_of(distribution), size)


def licence_of(distribution: metadata.Distribution) -> str:
    """Return the SPDX expression, else the classifiers, else the first line of License; empty if there is none.

    Several classifiers are alternatives: so python-dateutil says that it is under Apache 2.0 or BSD.
    """
    fields = distribution.metadata
    if "License-Expression" in fields:
        return fields["License-Expression"]
    classifiers = [
        text.rpartition(" :: ")[2] for text in fields.get_all("Classifier") or () if text.startswith("License")
    ]
    named = [text for text in classifiers if text != "OSI Approved"]
    texts = fields.get_all("License") or [""]
    return " OR ".join(named) or texts[0].strip().partition("\n")[0]


def problem(licence: str) -> str:
    """Return why a licence cannot be taken; empty if it can. One good alternative of several is enough."""
    verdicts = [_problem_of(part.upper()) for part in re.split(r"\s+OR\s+", licence)]
    return "" if "" in verdicts else verdicts[0]


def _problem_of(alternative: str) -> str:
    if _STRONG.search(_WEAK.sub("", alternative)):
        return "GPL or AGPL"
    known = _WEAK.search(alternative) or _PERMISSIVE.search(alternative)
    return "" if known else "no licence that is known"


def is_lgpl(licence: str) -> bool:
    """Return whether all alternatives of a licence are LGPL."""
    return all(_WEAK.search(part.upper()) for part in re.split(r"\s+OR\s+", licence))


def main() -> int:
    """List the packages; exit status 1 where a licence cannot be taken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extra", action="append", default=[], metavar="NAME", help="also what an extra needs")
    parser.add_argument("--markdown", action="store_true", help="the table of docs/contributing.md")
    options = parser.parse_args()
    packages = closure(extras=options.extra)
    row = "| {0.name} | {0.licence} | {1:.1f} |\n" if options.markdown else "{0.name:20} {1:7.1f} MB  {0.licence}\n"
    for package in packages:
        sys.stdout.write(row.format(package, package.size / 1e6))
    if not options.markdown:
        total = sum(package.size for package in packages) / 1e6
        weak = [package.name for package in packages if is_lgpl(package.licence)]
        sys.stdout.write(f"{len(packages)} packages, {total:.0f} MB; LGPL: {', '.join(weak) or 'none'}\n")
    refused = [(package, problem(package.licence)) for package in packages if problem(package.licence)]
    for package, why in refused:
        sys.stderr.write(f"{package.name} {package.version}: {why} ({package.licence or 'nothing said'})\n")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
