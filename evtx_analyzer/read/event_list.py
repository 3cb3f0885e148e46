"""Exports that name CAPI2 events and hold none of their facts: they become a loss that says what to do instead.

A CAPI2 event's message is one sentence for all of them ("For more details for this event, please refer to the Details
section"); the facts are its UserData. These forms leave UserData out, or its structure:

- Event Viewer's "Save as" CSV and TXT: one row per event, headers and times in the viewer's language;
- ``wevtutil qe /f:text``, ``Get-WinEvent`` to a file, ``Format-List``: lines of ``name: value``;
- ``Get-WinEvent | Export-Csv`` and ``| Export-Clixml``: properties without UserData;
- the "Friendly view" of the Details tab, copied: indentation does not tell which element holds which;
- tables, XML and HTML of other tools (Log Parser, Hayabusa, Sentinel, ConvertTo-Xml), in which the provider or the
  channel is a value of its own, or event XML that was escaped to be shown on a page.

Only names that are never localized are looked for, in the structure of each form: so a mail that mentions CAPI2 is not
taken for such an export.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from msgspec import Struct

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import EventRecord
from evtx_analyzer.read.encoding import as_text
from evtx_analyzer.wincrypt import EXPORT_AGAIN

_BLOCK = 1 << 20
_PROVIDER = r"Microsoft-Windows-CAPI2"


class _Form(Struct, frozen=True):
    """An export form: what it is called, how its text shows it, and what it lacks."""

    name: str
    pattern: re.Pattern[str]
    lacks: str


_MESSAGES = "holds messages only and none of a CAPI2 event's facts (UserData)"
_FORMS = (
    _Form(
        "a PowerShell object file (Export-Clixml)",
        re.compile(rf"\A(?>.{{0,2000}}?<Objs [^>]{{0,500}}powershell/2004/04)(?=.*>{_PROVIDER}<)", re.DOTALL),
        _MESSAGES,
    ),
    _Form(
        "text copied from the Friendly view of Event Viewer",
        re.compile(rf"^[ \t-]*\[ ?Name ?\]\s{{1,99}}{_PROVIDER}[ \t\r]*$", re.MULTILINE),
        "does not show which element holds which value",
    ),
    _Form(
        "a list saved by Event Viewer or Export-Csv",
        re.compile(rf'(?:^|[,;\t])(?:"?(?:{_PROVIDER}|CAPI2)"?[,;\t]"?\d+"?[,;\t]|"{_PROVIDER}"[,;\t])', re.MULTILINE),
        _MESSAGES,
    ),
    _Form(
        "a text listing of events",
        re.compile(
            # ``wevtutil gl`` begins like an event and is the configuration of the channel.
            rf"^[^\S\n]*[^\n:=,;<>]{{2,40}}[:=][^\S\n]*{_PROVIDER}(?:/Operational)?[^\S\n]*$(?!\nenabled:)",
            re.MULTILINE,
        ),
        _MESSAGES,
    ),
    _Form(
        "a table or a page of another tool with CAPI2 events",
        re.compile(
            rf'(?:[,:;\t=>|]"{{0,2}}|\bName=&(?:quot|#34);){_PROVIDER}(?:/Operational)?(?:"{{0,2}}[,;\t<|}}\n]|&)'
        ),
        "is not the events themselves",
    ),
)
_LISTINGS = (_FORMS[0], _FORMS[3])
_OTHER_PROVIDERS = re.compile(r"\b(?:Schannel|MSExchangeTransport)\b", re.IGNORECASE)


def is_message_export(head: bytes) -> bool:
    """Return whether a file begins in one of these forms; an object file only if it holds Windows events."""
    return _form(head) is not None


def read_message_export(stream: BinaryIO, source: Origin) -> Iterator[EventRecord | Loss]:
    """Yield one loss for the whole file, with the command that exports the log again."""
    head = stream.read(_BLOCK)
    form, size = _form(head), len(head)
    while block := stream.read(_BLOCK):
        size += len(block)
    if form is not None:
        reason = f"{form.name}, which {form.lacks}; export again on the server with: {EXPORT_AGAIN}"
        yield Loss(origin=source, reason=reason, extent=f"the whole file, {size:,} bytes")


def _form(head: bytes) -> _Form | None:
    text = as_text(head).replace("\r\n", "\n")
    # JSON is read elsewhere, and a list of channels (``Get-WinEvent -ListLog``) names CAPI2 without any event of it.
    if "CAPI2" not in text or text.lstrip()[:1] in ("{", "[") or "IsEnabled" in text:
        return None
    matching_form = next((form for form in _FORMS if form.pattern.search(text)), None)
    # Object files and listings that also hold events of other providers are read, for these events' sake.
    return None if matching_form in _LISTINGS and _OTHER_PROVIDERS.search(text) else matching_form
