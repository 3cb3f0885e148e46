"""The command line: as a process of its own, as users start it, and here, which is many times faster."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
from contextlib import ExitStack, chdir
from typing import NamedTuple
from unittest import mock

from evtx_analyzer.cli import main
from evtx_analyzer.cli.conversation import LOG


class Ended(NamedTuple):
    """What is left of a command: its status, and what it wrote."""

    returncode: int
    stdout: bytes
    stderr: bytes


def process(*arguments, stdin=None, cwd=None, **environment):
    command = [sys.executable, "-m", "evtx_analyzer", *map(str, arguments)]
    env = {**os.environ, **environment}
    done = subprocess.run(command, input=stdin, capture_output=True, cwd=cwd, env=env, timeout=120, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


def here(*arguments, stdin=None, cwd=None, **environment):
    """Call the command in this process, and put back what it sets for a process of its own."""
    streams = {"stdin": io.BytesIO(stdin or b""), "stdout": io.BytesIO(), "stderr": io.BytesIO()}
    with ExitStack() as patches:
        patches.enter_context(chdir(cwd or "."))
        patches.enter_context(mock.patch.dict(os.environ, environment))
        patches.enter_context(mock.patch.object(sys, "argv", ["evtx-analyzer", *map(str, arguments)]))
        for name, stream in streams.items():
            text = io.TextIOWrapper(stream, encoding="utf-8")
            patches.callback(text.detach)
            patches.enter_context(mock.patch.object(sys, name, text))
        patches.callback(gc.set_threshold, *gc.get_threshold())
        for name in ("handlers", "propagate", "level"):
            patches.callback(setattr, LOG, name, getattr(LOG, name))
        status: str | int | None = 0
        try:
            main()
        except SystemExit as end:
            status = end.code
        for handler in LOG.handlers:
            handler.close()
        sys.stdout.flush()
        sys.stderr.flush()
        assert isinstance(status, int)
        return Ended(status, streams["stdout"].getvalue(), streams["stderr"].getvalue())
