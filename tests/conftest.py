"""The one flag of this test suite: ``--update-snapshots`` writes what users see again, for review with git diff."""

from __future__ import annotations

import os
import shutil
import tempfile


def pytest_addoption(parser):
    parser.addoption("--update-snapshots", action="store_true", help="write the snapshots again, do not compare")


def pytest_configure(config):
    """The user's own cache of rules is neither read nor written: not when tests are collected, nor by processes."""
    config.evtx_analyzer_cache = os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="evtx-analyzer-tests-")


def pytest_unconfigure(config):
    shutil.rmtree(config.evtx_analyzer_cache, ignore_errors=True)
