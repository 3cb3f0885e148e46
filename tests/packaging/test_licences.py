"""The licence check of ``packaging/licences.py``, on texts and on what is installed here."""

from __future__ import annotations

import importlib.util
import re
from email.message import Message
from importlib import metadata

import pytest
from places import CHECKOUT

SPEC = importlib.util.spec_from_file_location("licences", CHECKOUT / "packaging" / "licences.py")
licences = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(licences)


class Installed(metadata.Distribution):
    """A package that is installed in name only."""

    def __init__(self, **fields):
        self.fields = Message()
        for name, values in fields.items():
            for value in values if isinstance(values, list) else [values]:
                self.fields[name.replace("_", "-")] = value

    @property
    def metadata(self):
        return self.fields

    def read_text(self, filename):  # noqa: ARG002
        return None

    def locate_file(self, path):
        return path


@pytest.mark.parametrize(
    "licence",
    [
        "GPL-3.0-only",
        "AGPL-3.0-or-later",
        "GNU General Public License v3 (GPLv3)",
        "GNU Affero General Public License v3",
        "MIT AND GPL-2.0-only",
        "LGPL-2.1-only AND GPL-2.0-only",
        "GPLv2+",
    ],
)
def test_strong_copyleft_is_refused(licence):
    assert licences.problem(licence) == "GPL or AGPL"


@pytest.mark.parametrize(
    "licence",
    [
        "MIT",
        "Apache-2.0 OR BSD-3-Clause",
        "GPL-2.0-only OR MIT",
        "LGPL-2.1-only",
        "GNU Library or Lesser General Public License (LGPL)",
        "GNU Lesser General Public License v3 or later (LGPLv3+)",
        "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0",
        "Public Domain",
        "Mozilla Public License 2.0 (MPL 2.0)",
    ],
)
def test_a_licence_that_can_be_taken(licence):
    assert licences.problem(licence) == ""


@pytest.mark.parametrize("licence", ["", "Proprietary", "see LICENSE", "Commercial licence of a company"])
def test_a_licence_that_is_not_known_is_refused(licence):
    assert licences.problem(licence) == "no licence that is known"


def test_lgpl_is_told_apart():
    assert licences.is_lgpl("LGPL-2.1-only")
    assert not licences.is_lgpl("LGPL-2.1-only OR MIT")
    assert not licences.is_lgpl("MIT")


def test_the_expression_comes_before_classifiers_and_those_before_the_free_text():
    classifiers = ["License :: OSI Approved :: BSD License", "License :: OSI Approved :: Apache Software License"]
    fields = {"License": "Dual License\nand more", "Classifier": ["Typing :: Typed", *classifiers]}
    assert licences.licence_of(Installed(License_Expression="MIT", **fields)) == "MIT"
    assert licences.licence_of(Installed(**fields)) == "BSD License OR Apache Software License"
    assert licences.licence_of(Installed(License="ISC\nand more", Classifier="License :: OSI Approved")) == "ISC"
    assert licences.licence_of(Installed(Name="x")) == ""


def test_every_package_that_users_get_has_a_licence_that_can_be_taken():
    """Over the packages that the dependencies ask for on this system, several steps deep."""
    packages = licences.closure()
    assert {"numpy", "hexdump", "markupsafe", "pyparsing"} <= {package.name for package in packages}
    assert {package.name: package.licence for package in packages if licences.problem(package.licence)} == {}


def test_the_documentation_lists_every_package_that_users_get():
    page = (CHECKOUT / "docs" / "contributing.md").read_text(encoding="utf-8")
    table = page.partition("## Dependencies")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| (\S+) \| (.+?) \|", table, re.MULTILINE))
    assert {package.name for package in licences.closure()} - set(rows) == set()
