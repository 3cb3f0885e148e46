"""Sample cases that hold a fix: what stands before it, and what shows that it worked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import evtx_analyzer as ea
from evtx_analyzer.report.document import to_json
from samples import capi2
from samples.capi2 import Recorder
from samples.cases import HOST, KB_TIME, LEAF, Files, noise
from samples.pieces import BROKEN, CHAIN, SOUND, START, accepted, message, refused, send, xml
from samples.smtp import SendSession

_FIX = timedelta(hours=26)


def fixed() -> Files:
    """The chain failed and mail was refused; a day later the same check passes and the same mail is accepted."""
    before = Recorder(HOST, next_record=900)
    capi2.check(before, KB_TIME, [(LEAF, 0)], seed="broken", **BROKEN)
    noise(before, KB_TIME + timedelta(minutes=1), 3)
    after = Recorder(HOST, next_record=4200)
    noise(after, KB_TIME + _FIX - timedelta(minutes=9), 3)
    capi2.check(after, KB_TIME + _FIX, CHAIN, seed="sound", **SOUND)
    later = [
        accepted(LEAF, START + _FIX, "08D50E7411223344"),
        accepted(LEAF, START + _FIX + timedelta(minutes=20), "08D50E7411223345"),
    ]
    earlier = {"capi2.xml": xml(before), "SmtpSend/SEND2016120103-1.LOG": send(refused(LEAF))}
    return {
        "before.json": _report(earlier),
        **{f"before/{name}": content for name, content in earlier.items()},
        "after/capi2.xml": xml(after),
        "after/SmtpSend/SEND2016120205-1.LOG": send(*later),
    }


def _report(files: Files) -> bytes:
    """The report that was saved before the fix, as ``verify`` takes it."""
    with TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder) / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        return to_json(ea.analyze(folder)).encode()


def not_fixed() -> Files:
    """The chain failed and mail was refused; a day later the same check passes, and mail is refused all the same."""
    files = fixed()
    again = SendSession(START + _FIX, "08D50E7411223344").connect().starttls(LEAF)
    files["after/SmtpSend/SEND2016120205-1.LOG"] = send(message(again, 710).quit(1100))
    return files


REPAIRS: dict[str, Callable[[], Files]] = {"fixed": fixed, "not-fixed": not_fixed}
