"""The one flag of this test suite: ``--update-snapshots`` writes what users see again, for review with git diff.

With ``-m "not slow"`` Hypothesis tries fewer examples (``tests/helpers/examples.py``), unless ``--hypothesis-profile
all`` is given.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile

import command
import examples
import pytest
from hypothesis import settings


def pytest_addoption(parser):
    parser.addoption("--update-snapshots", action="store_true", help="write the snapshots again, do not compare")


def pytest_configure(config):
    """The user's own cache of rules is neither read nor written: not when tests are collected, nor by processes."""
    if not config.getoption("hypothesis_profile", None):
        settings.load_profile(examples.profile(config.option.markexpr))
    config.evtx_analyzer_cache = os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="evtx-analyzer-tests-")


def pytest_unconfigure(config):
    shutil.rmtree(config.evtx_analyzer_cache, ignore_errors=True)


@pytest.fixture(autouse=True)
def no_network(request, monkeypatch):
    """No test reaches a network, and so no code under test does; one marked ``server`` has a server of its own here."""
    if request.node.get_closest_marker("server"):
        return

    def refuse(connection, address, *_):
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            raise AssertionError(f"a connection to {address} was tried in a test without a server")
        return connect(connection, address)

    def no_name(host, *_, **__):
        raise AssertionError(f"the address of {host} was asked for in a test without a server")

    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", no_name)


@pytest.fixture(params=["here", pytest.param("process", marks=pytest.mark.slow)])
def run(request):
    """The command line, called here, and in a whole run as a process of its own too."""
    return getattr(command, request.param)
