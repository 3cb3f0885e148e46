"""Where readers of a report find the documentation: nowhere, unless somebody says where they publish it.

The project has no public address. A team that serves the built site sets ``EVTX_ANALYZER_DOCS`` to its address.
"""

from __future__ import annotations

import os

from evtx_analyzer.errors import OptionError

VARIABLE = "EVTX_ANALYZER_DOCS"
_SCHEMES = ("https://", "http://", "file://")


def documentation() -> str:
    """Return the address of the documentation, with a slash at its end; empty where the variable is not set.

    Raises OptionError for what is no address: it becomes a link in reports.
    """
    address = os.environ.get(VARIABLE, "").strip()
    if address and (not address.startswith(_SCHEMES) or not address.isprintable() or " " in address):
        raise OptionError(f"{VARIABLE}: expected an address that begins with https://, http:// or file://")
    return f"{address.rstrip('/')}/" if address else ""


def page_of(cause: str) -> str:
    """Return the address of the page of a cause that ships with the program; empty where none is published."""
    address = documentation()
    return f"{address}causes/{cause}.html" if address else ""
