"""A pytest plugin (``-p called``) that notes which functions of the package each test file calls, as JSON.

It goes to the file that ``CALLED`` names in the environment: test file -> module file -> first lines of functions.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from pathlib import Path
from types import CodeType

import pytest

import evtx_analyzer

PACKAGE = str(Path(evtx_analyzer.__file__).parent) + os.sep
FOUND: dict[str, set[CodeType]] = defaultdict(set)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    codes = FOUND[item.nodeid.partition("::")[0]]

    def note(frame, event, _):
        if event == "call" and frame.f_code not in codes and frame.f_code.co_filename.startswith(PACKAGE):
            codes.add(frame.f_code)

    sys.settrace(note)
    try:
        return (yield)
    finally:
        sys.settrace(None)


def pytest_unconfigure():
    told = {}
    for test, codes in FOUND.items():
        modules = defaultdict(list)
        for code in codes:
            modules[code.co_filename.removeprefix(PACKAGE).replace(os.sep, "/")].append(code.co_firstlineno)
        told[test] = modules
    Path(os.environ["CALLED"]).write_text(json.dumps(told), encoding="utf-8")
