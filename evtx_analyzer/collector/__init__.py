"""The collection script for the server: a file of this package, printed by ``evtx-analyzer collector``.

The script is read, never run, here: tests parse it with a grammar of PowerShell and compare its commands with tables
of what Microsoft documents. How it behaves on Windows is not shown by any test of this project.
"""

from __future__ import annotations

from importlib import resources

from evtx_analyzer.version import VERSION

FILE_NAME = "collect-5764.ps1"
_VERSION_MARK = "0.0.0-source"


def script() -> str:
    """Return the script with the version of this program in it; ASCII, lines end with CR LF."""
    text = resources.files(__name__).joinpath(FILE_NAME).read_text("ascii")
    return text.replace(_VERSION_MARK, VERSION).replace("\r\n", "\n").replace("\n", "\r\n")
