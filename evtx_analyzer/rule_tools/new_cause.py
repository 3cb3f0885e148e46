"""Writes the files of a new cause: a signal, a cause, their cases and the German pairs, with all required keys.

The files pass ``rules check`` at once and fail ``rules test`` until the signal recognizes what its cases say. Angle
brackets hold what the author has to write.
"""

from __future__ import annotations

import re
import uuid
from pathlib import Path

from evtx_analyzer.errors import OptionError

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")

_SIGNAL = """\
title: <what the session shows, in one line>
name: SIGNAL
id: UUID
status: experimental
description: >
  <What in the log shows it.>
references:
  - https://learn.microsoft.com/exchange/mail-flow-best-practices/updated-requirements-smtp-relay
logsource:
  product: evtx-analyzer
  service: smtp-session
detection:
  session:
    SeenAddress: '<a field of a refused session, and its value>'
  condition: session
level: medium
"""

_SIGNAL_CASES = """\
- case: what must be recognized
  kind: positive
  event: {SeenAddress: 203.0.113.77}
- case: the opposite
  kind: negative
  event: {SeenAddress: 198.51.100.7}
- case: the log does not show the field
  kind: near-miss
  event: {Kind: message-tracking}
"""

_CAUSE = """\
id: NAME
rank: 50
title: "<The cause in one sentence: NAME>"
why: >
  <Why Exchange Online refuses the mail then: NAME.>
observations:
  seen:
    rejection: SIGNAL
    supports: >
      <What the refused session shows, such as $seen_address: NAME.>
grades:
  possible:
    - [seen]
remedy:
  steps:
    - "<What to change: NAME.>"
  verify:
    - "<What the logs show when it worked: NAME.>"
  references:
    - "<Title of a source>: https://learn.microsoft.com/exchange/mail-flow-best-practices/updated-requirements-smtp-relay"
"""

_CAUSE_CASES = """\
- case: the session shows it
  kind: positive
  observed: [seen]
  grade: possible
- case: nothing was observed
  kind: negative
  observed: []
  grade: no-evidence
- case: the log does not show the field
  kind: near-miss
  observed: []
  grade: no-evidence
"""

_GERMAN = """\
  # NAME
  - en: "<The cause in one sentence: NAME>"
    de: "<Die Ursache in einem Satz: NAME>"
  - en: "<Why Exchange Online refuses the mail then: NAME.>"
    de: "<Warum Exchange Online die Mail dann ablehnt: NAME.>"
  - en: "<What the refused session shows, such as $seen_address: NAME.>"
    de: "<Was die abgelehnte Sitzung zeigt, etwa $seen_address: NAME.>"
  - en: "<What to change: NAME.>"
    de: "<Was zu ändern ist: NAME.>"
  - en: "<What the logs show when it worked: NAME.>"
    de: "<Was die Protokolle zeigen, wenn es gewirkt hat: NAME.>"
"""


def new_cause(name: str, folder: Path) -> list[Path]:
    """Write the files of a cause ``name`` into a rule folder, and return them in the order in which to fill them in.

    The German pairs are added to ``sentences`` of translations/de.yml. Raises OptionError for a name that no cause may
    have and where a file is there already; nothing is written then.
    """
    if not _NAME.fullmatch(name):
        raise OptionError(f"{name!r} cannot name a cause: use lower-case words and hyphens, such as backup-line-used")
    signal = name.replace("-", "_")
    texts = {
        folder / "cases" / "signals" / f"{signal}.yml": _SIGNAL_CASES,
        folder / "signals" / f"{signal}.yml": _SIGNAL,
        folder / "causes" / f"{name}.yml": _CAUSE,
        folder / "cases" / "causes" / f"{name}.yml": _CAUSE_CASES,
    }
    for path in texts:
        if path.exists():
            raise OptionError(f"{path.as_posix()} is there already; choose another name, or remove it first")
    for path, text in texts.items():
        _write(path, _filled(text, name, signal))
    german = folder / "translations" / "de.yml"
    before = german.read_text(encoding="utf-8") if german.is_file() else ""
    _write(german, _with_pairs(before, _filled(_GERMAN, name, signal)))
    return [*texts, german]


def _with_pairs(catalogue: str, pairs: str) -> str:
    """Return a catalogue with pairs inserted at the top of its ``sentences``, because a section may follow that one."""
    if "sentences:" not in catalogue.splitlines():
        catalogue = f"{catalogue.rstrip()}\nsentences:\n".lstrip()
    head, line, tail = catalogue.partition("sentences:\n")
    return head + line + pairs + tail


def _filled(text: str, name: str, signal: str) -> str:
    # Sigma requires a UUID; it is derived from the name, so that the same call writes the same bytes.
    signal_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"evtx-analyzer:signal:{signal}"))
    return text.replace("SIGNAL", signal).replace("NAME", name).replace("UUID", signal_id)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
