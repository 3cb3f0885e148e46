"""Every error that this package raises on purpose.

    AnalyzerError                the one to catch
    ├── InputError               nothing could be read: a path that is missing, a folder without logs
    ├── OptionError              an option's value cannot be used
    ├── RuleError                one mistake in a rule file (``file:key: message``)
    ├── RuleSetError             all mistakes of a rule set at once
    └── ReportError              a saved report cannot be read back, or an output format is unknown

Damage inside an input is never an error: it becomes a ``Loss`` (``model/origin.py``) in the report. Every message says
what was expected and what to do next. Only ``cli`` prints or exits.
"""

from __future__ import annotations

import logging
import re

_LOG = logging.getLogger("evtx_analyzer")
_LOG.addHandler(logging.NullHandler())  # a program that wants the tracebacks adds a handler of its own
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
_MOST_TEXT = 200


class AnalyzerError(Exception):
    """Base of all errors that this package raises on purpose; compares by type and text."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash((type(self), str(self)))


class InputError(AnalyzerError):
    """Nothing could be read from the input."""


class OptionError(AnalyzerError):
    """The value of an option cannot be used."""


class ReportError(AnalyzerError):
    """A saved report cannot be read back, or the format of an output is unknown."""


class RuleError(AnalyzerError):
    """One mistake in one rule file."""

    def __init__(self, file: str, key: str, message: str) -> None:
        super().__init__(f"{file}:{key}: {message}" if key else f"{file}: {message}")
        self.file, self.key, self.message = file, key, message


class RuleSetError(AnalyzerError):
    """All mistakes found in a rule set."""

    def __init__(self, mistakes: tuple[RuleError, ...]) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = mistakes


PROGRAM_FAILED = "this program failed on it"
"""The beginning of every reason that ``unforeseen`` returns."""


def is_unforeseen(error: BaseException) -> bool:
    """Return whether an error is a fault of this program or of a library, which a boundary turns into a loss.

    AnalyzerError is raised on purpose, MemoryError is the machine's matter, and interrupts and exits are no Exception.
    """
    expected = isinstance(error, AnalyzerError | MemoryError)
    # pyo3 raises the panic of a Rust library as a BaseException whose class cannot be imported.
    return (isinstance(error, Exception) and not expected) or type(error).__name__ == "PanicException"


def unforeseen(what: str, error: BaseException) -> str:
    """Return the reason that a report states for an unforeseen error; its traceback goes to the log ``evtx_analyzer``.

    ``what`` names the source or bundle. The text is one line and the same in every run, so memory addresses are cut.
    """
    _LOG.error("%s: %s", what, PROGRAM_FAILED, exc_info=error)
    text = _ADDRESS.sub("", str(error)).partition("\n")[0][:_MOST_TEXT].encode("utf-8", "replace").decode()
    return f"{PROGRAM_FAILED} ({type(error).__name__}: {text}); please report this"
