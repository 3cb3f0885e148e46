"""The version of the program, which the package metadata takes from here: asking for those costs 20 ms."""

VERSION = "0.1.0"

DOCUMENTATION = ""
"""Address of the published ``docs`` folder, with a slash at its end. Empty as long as there is none: reports then name
the page as it lies in the source tree."""


def documentation_of(cause: str) -> str:
    """Return where a cause that ships with the program is explained at length."""
    return f"{DOCUMENTATION or 'docs/'}causes/{cause}.md"
