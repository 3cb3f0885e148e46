"""The one flag of this test suite: ``--update-snapshots`` writes what users see again, for review with git diff."""

from __future__ import annotations


def pytest_addoption(parser):
    parser.addoption("--update-snapshots", action="store_true", help="write tests/snapshots again instead of comparing")
