"""The address of the documentation, to which reports link only if somebody publishes it.

The project has no public address. A team that serves the built site sets ``EVTX_ANALYZER_DOCS`` to its address.
"""

from __future__ import annotations

import os

from evtx_analyzer.errors import OptionError

VARIABLE = "EVTX_ANALYZER_DOCS"
_SCHEMES = ("https://", "http://", "file://")


def documentation() -> str:
    """Return the address of the documentation, with a slash at its end; empty if the variable is not set.

    Raises OptionError for anything that is no address, because it becomes a link in reports.
    """
    address = os.environ.get(VARIABLE, "").strip()
    if address and (not address.startswith(_SCHEMES) or not address.isprintable() or " " in address):
        raise OptionError(f"{VARIABLE}: expected an address that begins with https://, http:// or file://")
    return f"{address.rstrip('/')}/" if address else ""


def page_of(cause: str) -> str:
    """Return the address of the page on a cause that ships with the program; empty if no documentation is published."""
    address = documentation()
    return f"{address}causes/{cause}.html" if address else ""
