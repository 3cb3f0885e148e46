"""What is measured: for each name its inputs, the commands over them, and the goals that they are held against."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import inputs, peers
from benchmarks.facts import Facts
from benchmarks.measuring import MEGABYTE, Entry, Measured, measure
from benchmarks.smtp_logs import AT_ONCE

PART = 1_600_000  # bytes of CAPI2 that python-evtx is given
USUAL = 70  # MB of a usual bundle: 20 of CAPI2, 40 of Send connector logs, 10 of IIS SMTP log
HITS, SPARSE, DENSE = 0.03, 0.001, 0.5  # shares of chunks with a failure, of sessions refused
ONE = 1 / AT_ONCE  # of a small log's sessions: its start must load what a refusal needs
BEFORE = "an earlier version"
SEND_SKIP, W3C_SKIP = 5, 4  # lines of headers
_TELLING = 0.2  # of the start: what is less may as well be noise
Number = Callable[[dict[str, Measured]], float]


@dataclass(frozen=True)
class Goal:
    """A number to reach: ``value`` of what was measured must be at most (or, with ``least``, at least) the limit.

    Times are processor time: the clock tells of a busy machine what else it did.
    """

    text: str
    value: Number
    limit: float
    unit: str
    least: bool = False


@dataclass
class Section:
    """A title, what was measured under it, and the goals; ``start`` is ours on next to nothing of the same kind."""

    name: str
    title: str
    entries: Sequence[Entry]
    goals: Sequence[Goal] = ()
    note: str = ""
    measured: list[Measured] = field(default_factory=list)


def send(folder: Path, megabytes: float) -> Section:
    """A Send connector log, hardly anything refused; as one file and as Exchange rolls it."""
    size = int(megabytes * MEGABYTE)
    log, rolled = folder / "send" / "SEND.LOG", folder / "rolled"
    facts = _log(log, size, SPARSE)
    parts = inputs.prepared(
        rolled, lambda to: inputs.send_log(to, size, SPARSE, roll=inputs.ROLL)[0], size=size, refused=SPARSE
    )
    start = _small_send(folder)
    name = f"{peers.OURS}, files of 10 MB"
    return Section(
        "send",
        f"Send connector log, {_shown(facts.size)}, {facts.refused} of {facts.sessions} sessions refused",
        [
            peers.ours(log, facts),
            peers.ours(rolled, parts, name, main=False),
            start,
            peers.ripgrep(log, facts),
            *peers.floors(log, facts.size),
            *peers.tables(log, facts, ",", SEND_SKIP),
        ],
        _sparse_goals(),
    )


def dense(folder: Path, megabytes: float) -> Section:
    """A Send connector log of an outage: half of all sessions refused."""
    log = folder / "dense" / "SEND.LOG"
    facts = _log(log, int(megabytes * MEGABYTE), DENSE)
    return Section(
        "dense",
        f"Outage in a Send log, {_shown(facts.size)}, {facts.refused} of {facts.sessions} sessions refused",
        [
            peers.ours(log, facts),
            _small_send(folder),
            peers.ripgrep(log, facts),
            *peers.floors(log, facts.size),
            *peers.tables(log, facts, ",", SEND_SKIP),
        ],
        [
            Goal("at most 3 times polars reading the columns alone", _ratio("polars"), 3.0, "times polars"),
            Goal("at most 300 MB resident", lambda found: _ours(found).memory, 300, "MB"),
        ],
    )


def iis(folder: Path, megabytes: float) -> Section:
    """An IIS SMTP log in W3C format."""
    log, small = folder / "iis" / "ex161201.log", folder / "small-iis" / "ex161201.log"
    size = int(megabytes * MEGABYTE)
    facts = inputs.prepared(log, lambda to: inputs.iis_log(to, size, SPARSE)[0], size=size, refused=SPARSE)
    few = inputs.prepared(small, lambda to: inputs.iis_log(to, 1, ONE)[0], size=1, refused=ONE)
    return Section(
        "iis",
        f"IIS SMTP log (W3C), {_shown(facts.size)}, {facts.refused} of {facts.sessions} connections refused",
        [
            peers.ours(log, facts),
            _start(small, few),
            peers.ripgrep(log, facts),
            *peers.floors(log, facts.size),
            *peers.tables(log, facts, " ", W3C_SKIP),
        ],
        _sparse_goals(),
    )


def capi2(folder: Path, megabytes: float) -> Section:
    """A CAPI2 export in which few chunks hold a failure."""
    export, part, small = (folder / name / "capi2.evtx" for name in ("capi2", "part", "small-capi2"))
    size = int(megabytes * MEGABYTE)
    facts, piece, few = _export(export, size, HITS), _export(part, PART, HITS), _export(small, 1, 1)
    return Section(
        "capi2",
        f"CAPI2 export, {_shown(facts.size)}, {facts.hits} of {facts.chunks} chunks with a failure",
        [
            peers.ours(export, facts),
            _start(small, few),
            *peers.event_logs(export, facts, part, piece),
            peers.ripgrep_wide(export, facts.size),
            *peers.floors(export, facts.size),
        ],
        [
            Goal(
                "3 times a full parse by evtx, its start not counted",
                lambda found: _named(found, "evtx,").cpu / net(found),
                3,
                "times",
                least=True,
            ),
            Goal(
                "0.6 of the speed of SHA-256, its start not counted",
                lambda found: _named(found, "digest").cpu / net(found),
                0.6,
                "of it",
                least=True,
            ),
        ],
        "python-evtx renders no CAPI2 record: its figure is what it needs to walk them and fail.",
    )


def bundle(folder: Path, _: float) -> Section:
    """The usual bundle of one server, whatever the size of the other inputs is."""
    path, facts = _bundle(folder)
    return Section(
        "bundle",
        f"Usual bundle, {_shown(facts.size)}: CAPI2 export, Send connector logs, IIS SMTP log; {_told(facts)}",
        [
            peers.ours(path, facts),
            peers.python("python -c 'import pandas'", "import pandas", needs="pandas"),
            peers.ripgrep(path, facts),
            *peers.floors(path, facts.size),
        ],
        [
            Goal("at most what importing pandas takes", _ratio("python -c"), 1.0, "times"),
            Goal("at most half of an earlier version", _ratio(BEFORE), 0.5, "of it"),
        ],
    )


def zip_(folder: Path, _: float) -> Section:
    """The same bundle as a zip."""
    path, facts = _bundle(folder)
    archive = folder / "bundle.zip"
    inputs.prepared(archive, lambda to: inputs.zipped(to, path, facts), of=facts)
    return Section(
        "zip",
        f"The same bundle as a zip of {_shown(archive.stat().st_size)}; GB/s are of its content",
        [
            peers.ours(archive, facts),
            peers.ours(path, facts, f"{peers.OURS}, not zipped", main=False),
            *peers.unzipped(archive, facts.size),
        ],
    )


def start(_folder: Path, _: float) -> Section:
    """What every call costs, whatever it reads."""
    command = [sys.executable, "-m", "evtx_analyzer"]
    sample = str(peers.REPOSITORY / "samples" / "kb-3212877")
    return Section(
        "start",
        "Cold start",
        [
            Entry("evtx-analyzer --help", [*command, "--help"], ours=True),
            Entry(f"{peers.OURS} samples/kb-3212877", [*command, "analyze", sample], exits=(1,)),
            peers.python("python -c 'import evtx_analyzer'", "import evtx_analyzer"),
            peers.python("python -c pass", "pass"),
            peers.python("python -c 'import pandas'", "import pandas", needs="pandas"),
            peers.python("python -c 'import polars'", "import polars", needs="polars"),
        ],
        [Goal("`--help` under 0.2 s", lambda found: _ours(found).cpu, 0.2, "s")],
    )


SECTIONS: dict[str, Callable[[Path, float], Section]] = {
    "capi2": capi2,
    "send": send,
    "dense": dense,
    "iis": iis,
    "bundle": bundle,
    "zip": zip_,
    "start": start,
}
# MB of input for each of the MB asked for; a bundle is as large as it is.
DISK = {"capi2": 1.0, "send": 2.0, "dense": 1.0, "iis": 1.0}


def measured(name: str, folder: Path, megabytes: float, runs: int, before: Path | None = None) -> Section:
    """Make the inputs of a section and measure it, beside the version that the Python ``before`` has installed."""
    section = SECTIONS[name](folder, megabytes)
    entries = [*section.entries, *(_earlier(entry, before) for entry in section.entries if entry.ours and before)]
    section.measured = measure(entries, runs, folder / "out")
    return section


def _earlier(entry: Entry, python: Path | None) -> Entry:
    """Our own command as an earlier version runs it; what it answers is not looked at."""
    _, *rest = entry.command
    # -P: not the version in the folder in which the benchmark runs.
    return replace(entry, name=BEFORE, command=[str(python), "-P", *rest], ours=False, check=None)


def main_input(name: str, folder: Path, megabytes: float) -> Entry:
    """Our own command of a section, with its input made."""
    return next(entry for entry in SECTIONS[name](folder, megabytes).entries if entry.ours)


def _log(path: Path, size: int, refused: float) -> Facts:
    return inputs.prepared(path, lambda to: inputs.send_log(to, size, refused)[0], size=size, refused=refused)


def _export(path: Path, size: int, hits: float) -> Facts:
    return inputs.prepared(path, lambda to: inputs.capi2(to, size, hits), size=size, hits=hits)


def _small_send(folder: Path) -> Entry:
    path = folder / "small-send" / "SEND.LOG"
    return _start(path, _log(path, 1, ONE))


def _start(path: Path, facts: Facts) -> Entry:
    return peers.ours(path, facts, f"{peers.OURS}, {facts.size / 1000:.0f} kB: its start", main=False)


def _bundle(folder: Path) -> tuple[Path, Facts]:
    path = folder / "bundle"
    return path, inputs.prepared(path, lambda to: inputs.bundle(to, USUAL * MEGABYTE), megabytes=USUAL)


def _shown(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _told(facts: Facts) -> str:
    return f"{facts.rejections} refusals, {facts.hits} failed checks next to them"


def _sparse_goals() -> list[Goal]:
    return [
        Goal("at most what polars needs to read the columns alone", _ratio("polars"), 1.0, "times polars"),
        Goal("at most 0.4 of an earlier version", _ratio(BEFORE), 0.4, "of it"),
        Goal("at most 100 MB resident, for any size", lambda found: _ours(found).memory, 100, "MB"),
    ]


def _ours(found: dict[str, Measured]) -> Measured:
    return next(item for item in found.values() if item.entry.ours)


def _named(found: dict[str, Measured], begin: str) -> Measured:
    """The entry whose name begins so; ValueError where it could not run."""
    item = next((item for name, item in found.items() if name.startswith(begin)), None)
    if item is None:
        raise ValueError("not measured: the peer is not there")
    return item


def net(found: dict[str, Measured]) -> float:
    """Processor time of ours without that of next to nothing, in seconds; ValueError where this is nearly all of it."""
    first = next(item for name, item in found.items() if name.endswith("its start"))
    rest = _ours(found).cpu - first.cpu
    if rest < first.cpu * _TELLING:
        raise ValueError("not to be told: nearly all of it is the start")
    return rest


def _ratio(peer: str) -> Number:
    return lambda found: _ours(found).cpu / _named(found, peer).cpu
