"""Many bundles: the pipeline mapped over them, on this machine or on a Dask cluster, and one summary of all.

What is not done can be done later: reports are named by content and written at once or not at all, so an interrupted
run goes on with ``resume``, and a run on what is done already changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar, Unpack

import msgspec
from msgspec import Struct

from evtx_analyzer.batch.bundles import Bundle, bundles
from evtx_analyzer.batch.local import run_local
from evtx_analyzer.batch.outcome import Failed
from evtx_analyzer.batch.summary import REPORTS, Summary, merge, to_csv, to_html, to_json
from evtx_analyzer.batch.work import PART, Settings, Task, encoded, not_read, summarize
from evtx_analyzer.errors import OptionError
from evtx_analyzer.options import AnalysisOptions, CaseArguments, analysis_options
from evtx_analyzer.report import SUFFIXES
from evtx_analyzer.report.document import Report
from evtx_analyzer.rules import Rules
from evtx_analyzer.rules.files import rules_version

__all__ = ["Bundle", "Progress", "Settings", "Summary", "analyze_many", "bundles", "merge", "run"]

R = TypeVar("R")
Inputs = str | os.PathLike[str] | Sequence[str | os.PathLike[str] | Bundle]
_SUFFIX_NAMES = {"markdown": "md"}


class Progress(Struct, frozen=True, kw_only=True):
    """How far a batch is, in bundles and in their bytes."""

    done: int
    total: int
    done_bytes: int
    total_bytes: int


def analyze_many(
    inputs: Inputs,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    rules: str | os.PathLike[str] | None = None,
    password_file: str | os.PathLike[str] | None = None,
    every_row: bool = False,
    **arguments: Unpack[CaseArguments],
) -> Iterator[Report]:
    """A report for each bundle, in the order in which they are done; ``report.batch.bundle`` names it.

    ``inputs`` is a folder of bundles, or a list of files, folders, globs, ``@lists`` and URLs; ``workers`` processes on
    this machine, or the Dask cluster at ``scheduler``, do the work. ``rules`` is a folder, the other options are those
    of ``analyze``; ``every_row`` is ``prefilter=False`` there. A bundle that cannot be read gives a report of losses.
    On Windows and macOS, a script calls this below ``if __name__ == "__main__":``, as every program does
    that starts processes.
    """
    options = analysis_options(**arguments, prefilter=not every_row)
    settings = settings_for(options, rules=rules, password_file=password_file)
    tasks = _longest_first(Task(bundle=bundle, settings=settings) for bundle in bundles(inputs))
    for task, result in _each(encoded, tasks, workers, scheduler):
        if isinstance(result, Failed):
            yield not_read(task.bundle, "failed", result.reason)
        else:
            yield msgspec.json.decode(result, type=Report)


def run(
    found: Sequence[Bundle],
    folder: str | os.PathLike[str],
    settings: Settings,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    resume: bool = False,
    formats: Sequence[str] = (),
    tell: Callable[[Progress], None] | None = None,
    work: Callable[[Task], Summary] = summarize,
) -> Summary:
    """Analyze bundles into a folder: ``reports/`` while they are done, the summary at the end.

    ``formats`` are further formats of the reports beside JSON, and ``parquet`` for the summary. ``work`` is what a
    worker does with a task; it must be importable where workers run.
    """
    into = Path(folder).absolute()
    reports = into / REPORTS
    suffixes, parquet = _suffixes(formats)
    reports.mkdir(parents=True, exist_ok=True)
    _sweep(reports)
    tasks = _longest_first(
        Task(bundle=bundle, settings=settings, folder=str(reports), suffixes=suffixes, resume=resume)
        for bundle in found
    )
    parts = _parts(tasks, _each(work, tasks, workers, scheduler), reports, tell)
    summary = merge(parts)
    _sweep(reports)
    for name, text in (("json", to_json(summary)), ("csv", to_csv(summary)), ("html", to_html(summary))):
        _replace(into / f"summary.{name}", text.encode())
    if parquet:
        summary.to_pandas().to_parquet(into / "summary.parquet", index=False)
    return summary


def settings_for(
    options: AnalysisOptions | None = None,
    *,
    rules: str | os.PathLike[str] | None = None,
    password_file: str | os.PathLike[str] | None = None,
) -> Settings:
    """Return the settings of a batch; the rules are checked here, before any worker starts."""
    place = None if rules is None else str(Path(rules).absolute())
    Rules.load(place)
    return Settings(
        options=options or AnalysisOptions(),
        rules=place,
        rules_version=rules_version(place),
        password_file=None if password_file is None else str(Path(password_file).absolute()),
    )


def _each(
    function: Callable[[Task], R], tasks: Sequence[Task], workers: int | None, scheduler: str | None
) -> Iterator[tuple[Task, R | Failed]]:
    if scheduler is None:
        return run_local(function, tasks, workers)
    # An extra, and slow to import.
    from evtx_analyzer.batch.cluster import run_cluster  # noqa: PLC0415

    return run_cluster(function, tasks, scheduler)


def _parts(
    tasks: Sequence[Task],
    results: Iterable[tuple[Task, Summary | Failed]],
    reports: Path,
    tell: Callable[[Progress], None] | None,
) -> Iterator[Summary]:
    """What the workers give, with progress; checks once that what they wrote can be seen from here."""
    total, done, done_bytes, seen = sum(task.bundle.size for task in tasks), 0, 0, False
    for task, result in results:
        part = merge([not_read(task.bundle, "failed", result.reason)]) if isinstance(result, Failed) else result
        name = next((row.report for row in part.rows if row.report), "")
        if name and not seen:
            seen = True
            if not (reports.parent / name).exists():
                raise OptionError(
                    f"a worker wrote {name}, but it is not in {reports.parent.name}; "
                    "-o must be a folder that this machine and all workers share under one path"
                )
        done, done_bytes = done + 1, done_bytes + task.bundle.size
        if tell is not None:
            tell(Progress(done=done, total=len(tasks), done_bytes=done_bytes, total_bytes=total))
        yield part


def _longest_first(tasks: Iterable[Task]) -> list[Task]:
    """The longest bundle must not be the last that begins."""
    return sorted(tasks, key=lambda task: (-task.bundle.size, task.bundle.name))


def _suffixes(formats: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """Suffixes of the reports, and whether the summary is wanted as Parquet."""
    suffixes = [".json"]
    for name in formats:
        suffix = f".{_SUFFIX_NAMES.get(name, name)}"
        if suffix in SUFFIXES:
            suffixes.append(suffix)
        elif name != "parquet":
            known = ", ".join([*(item[1:] for item in SUFFIXES), "parquet"])
            raise OptionError(f"--format {name}: expected one of {known}")
    if "parquet" in formats:
        _need_pyarrow()
    return tuple(dict.fromkeys(suffixes)), "parquet" in formats


def _need_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401, ICN001, PLC0415  slow to import, asked for here only
    except ImportError:
        raise OptionError("--format parquet needs a library: pip install pyarrow") from None


def _sweep(reports: Path) -> None:
    """Remove what a worker that was killed had half written."""
    for path in reports.glob(f"*{PART}.*"):
        path.unlink(missing_ok=True)


def _replace(path: Path, content: bytes) -> None:
    """Write a file at once or not at all; leave it alone where it is the same."""
    if path.exists() and path.read_bytes() == content:
        return
    part = path.with_name(f"{path.name}{PART}")
    part.write_bytes(content)
    part.replace(path)
