"""The inputs of the benchmarks, made where they are not there yet; each is named by what it is and how large.

A folder that is kept holds beside each input a stamp: its parameters and the facts that its maker knows.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.capi2_export import capi2
from benchmarks.facts import Facts
from benchmarks.smtp_logs import ROLL, iis_log, send_log

__all__ = ["ROLL", "bundle", "capi2", "iis_log", "prepared", "send_log", "zipped"]

VERSION = 1  # of what is written below: an older input is made again
Maker = Callable[[Path], Facts]


def prepared(path: Path, make: Maker, **parameters: object) -> Facts:
    """What is known of the input at ``path``; it is made first unless it is there with the same parameters."""
    wanted = json.dumps({"version": VERSION, **parameters}, sort_keys=True)
    stamp = path.with_name(f"{path.name}.stamp.json")
    if stamp.is_file() and path.exists():
        held = json.loads(stamp.read_text(encoding="utf-8"))
        if held["parameters"] == wanted:
            return Facts(**held["facts"])
    remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = make(path)
    stamp.write_text(json.dumps({"parameters": wanted, "facts": facts._asdict()}), encoding="utf-8")
    return facts


def remove(path: Path) -> None:
    """Delete an input and its stamp."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}.stamp.json").unlink(missing_ok=True)


def bundle(folder: Path, size: int, *, refused: float = 0.001, hits: float = 0.03) -> Facts:
    """A collected bundle of one server over eight hours: 2/7 CAPI2, 4/7 Send connector logs, 1/7 IIS SMTP log.

    The usual one has 70 MB. The failed checks lie next to refused handshakes, so that the verdict is KB 3212877's.
    """
    share, seconds = size // 7, 8 * 3600
    send_period, iis_period = (seconds / max(1, part * share / block) for part, block in ((4, 90_000), (1, 47_000)))
    folder.mkdir(parents=True)
    send, times = send_log(folder / "SmtpSend", 4 * share, refused, period=send_period, roll=ROLL)
    iis, _ = iis_log(folder / "SMTPSVC1" / "ex161201.log", share, refused, period=iis_period)
    events = capi2(folder / "Microsoft-Windows-CAPI2%4Operational.evtx", 2 * share, hits, near=times.refused)
    return Facts(
        size=send.size + iis.size + events.size,
        sessions=send.sessions + iis.sessions,
        refused=send.refused + iis.refused,
        rejections=send.rejections + iis.rejections,
        records=send.records + iis.records + events.records,
        chunks=events.chunks,
        hits=events.hits,
        cause="probable missing-intermediate",
    )


def zipped(path: Path, folder: Path, facts: Facts) -> Facts:
    """A zip of a folder, compressed as usual; the facts stay, but for the size, which is still that of the content."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for item in sorted(folder.rglob("*")):
            if item.is_file():
                archive.write(item, item.relative_to(folder).as_posix())
    return facts
