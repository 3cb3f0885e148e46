"""Analyze many bundles, on this machine or on a Dask cluster, and summarize all of them.

An interrupted run can be continued with ``resume``: every file is written whole or not at all, and an index remembers
what was written. A second run over bundles that are done changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar, Unpack

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.batch.bundles import Bundle, bundles
from evtx_analyzer.batch.compare import Earlier, compare
from evtx_analyzer.batch.folder import OutputFolder
from evtx_analyzer.batch.local import run_local
from evtx_analyzer.batch.names import report_names
from evtx_analyzer.batch.outcome import NO_ROOM, Failed, IncompleteError, WorkerLimits
from evtx_analyzer.batch.summary import Summary, merge
from evtx_analyzer.batch.work import Finished, Outputs, Settings, Task, encoded, not_read, summarize
from evtx_analyzer.errors import OptionError
from evtx_analyzer.options import AnalysisOptions, CaseArguments, analysis_options
from evtx_analyzer.report import SUFFIXES, suffix_of
from evtx_analyzer.report.document import Report
from evtx_analyzer.rules import Rules
from evtx_analyzer.rules.files import rules_version

R = TypeVar("R")
Inputs = str | os.PathLike[str] | Sequence[str | os.PathLike[str] | Bundle]


class Progress(Struct, frozen=True, kw_only=True):
    """The progress of a batch, in bundles and in their bytes, and the bundle that was done last."""

    done: int
    total: int
    done_bytes: int
    total_bytes: int
    bundle: str = ""
    outcome: str = ""


def analyze_many(
    inputs: Inputs,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    rules: str | os.PathLike[str] | None = None,
    password_file: str | os.PathLike[str] | None = None,
    every_row: bool = False,
    memory_limit: int | None = WorkerLimits().memory,
    time_limit: float | None = WorkerLimits().seconds,
    **arguments: Unpack[CaseArguments],
) -> Iterator[Report]:
    """Yield a report for each bundle, in the order in which they are done; ``report.batch.bundle`` names the bundle.

    ``inputs`` is a folder of bundles, or a list of files, folders, globs, ``@lists`` and URLs; ``workers`` processes on
    this machine, or the Dask cluster at ``scheduler``, do the work. ``rules`` is a folder, the other options are those
    of ``analyze``; ``every_row`` is ``prefilter=False`` there. A bundle that cannot be read, that needs more than
    ``memory_limit`` bytes or longer than ``time_limit`` seconds (None: no limit) yields a report of losses. A script
    must call this below ``if __name__ == "__main__":``, because it starts processes.
    """
    options = analysis_options(**arguments, prefilter=not every_row)
    settings = settings_for(options, rules=rules, password_file=password_file)
    limits = WorkerLimits(memory=memory_limit, seconds=time_limit)
    tasks = _longest_first(Task(bundle=bundle, settings=settings, label=bundle.name) for bundle in bundles(inputs))
    for task, result in _each(encoded, tasks, workers, scheduler, limits):
        if isinstance(result, Failed):
            yield not_read(task, "failed", result.reason)
        else:
            yield msgspec.json.decode(result, type=Report)


def run(
    cases: Sequence[Bundle],
    folder: str | os.PathLike[str],
    settings: Settings,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    limits: WorkerLimits | None = None,
    resume: bool = False,
    verify_contents: bool = False,
    outputs: Outputs | None = None,
    redact_map: str | os.PathLike[str] | None = None,
    earlier: Mapping[str, Earlier] | None = None,
    progress: Callable[[Progress], None] | None = None,
    work: Callable[[Task], Finished] = summarize,
) -> Summary:
    """Analyze bundles into a folder, which gets each report as soon as it is made, and the summary at the end.

    ``resume`` keeps what an earlier run did by the same settings; with ``verify_contents`` it reads the bundles again
    to see that they are the same. ``earlier`` is a summary to compare with. ``work`` is what a worker does with a task;
    it must be importable where workers run. Raises IncompleteError, at the end, if something could not be written.
    """
    outputs = outputs or Outputs()
    output_folder = OutputFolder(folder, len(cases))
    with output_folder:
        tasks = _tasks(cases, settings, outputs, str(output_folder.reports))
        done = {} if not resume or verify_contents else dict(output_folder.done(tasks))
        if resume:
            tasks = [replace(task, known=output_folder.index.records.get(task.name)) for task in tasks]
        left = [task for task in tasks if task.name not in done]
        results = _each(work, left, workers, scheduler, limits or WorkerLimits())
        parts = list(_counted(tasks, done, _until_full(left, results), output_folder, progress))
        summary = merge(parts)
        if earlier is not None:
            summary = compare(summary, earlier)
        if redact_map is not None:
            output_folder.write_map(Path(redact_map), {task.label: task.bundle.name for task in tasks}, resume)
        output_folder.write_summary(summary, outputs, settings.rules)
    if output_folder.problems:
        raise IncompleteError(output_folder.problems, summary)
    return summary


def _tasks(cases: Sequence[Bundle], settings: Settings, outputs: Outputs, reports: str) -> list[Task]:
    """Return a task for each bundle; with ``redact`` the bundle's own name is replaced by an alias too."""
    labels = [f"bundle{number}" if outputs.redact else bundle.name for number, bundle in enumerate(cases, 1)]
    return _longest_first(
        Task(bundle=bundle, settings=settings, outputs=outputs, folder=reports, name=name, label=label)
        for bundle, label, name in zip(cases, labels, report_names(labels), strict=True)
    )


def _until_full(
    tasks: Sequence[Task], results: Iterable[tuple[Task, Finished | Failed]]
) -> Iterator[tuple[Task, Finished | Failed]]:
    """Yield the results until no report can be written any more; after that the other tasks fail untried."""
    left = {task.name: task for task in tasks}
    for task, result in results:
        del left[task.name]
        yield task, result
        if isinstance(result, Failed) and result.full:
            break
    yield from ((task, Failed(NO_ROOM, full=True)) for task in left.values())


def _counted(
    tasks: Sequence[Task],
    done: Mapping[str, Summary],
    results: Iterable[tuple[Task, Finished | Failed]],
    output_folder: OutputFolder,
    progress: Callable[[Progress], None] | None,
) -> Iterator[Summary]:
    """Yield the summary of each bundle, those that an earlier run did first, and report the progress."""
    total, count, size = sum(task.bundle.size for task in tasks), 0, 0
    before = [(task, Finished(done[task.name])) for task in tasks if task.name in done]
    for task, result in (pair for pairs in (before, results) for pair in pairs):
        part = output_folder.take(task, result)
        count, size = count + 1, size + task.bundle.size
        if progress is not None:
            row, of = part.rows[0], {"total": len(tasks), "total_bytes": total}
            progress(Progress(done=count, done_bytes=size, bundle=row.bundle, outcome=row.outcome, **of))
        yield part


def settings_for(
    options: AnalysisOptions | None = None,
    *,
    rules: str | os.PathLike[str] | None = None,
    password_file: str | os.PathLike[str] | None = None,
) -> Settings:
    """Return the settings of a batch. Raises RuleSetError for wrong rules before any worker starts."""
    folder = None if rules is None else str(Path(rules).absolute())
    Rules.load(folder)
    return Settings(
        options=options or AnalysisOptions(),
        rules=folder,
        rules_version=rules_version(folder),
        password_file=None if password_file is None else str(Path(password_file).absolute()),
    )


def outputs_for(formats: Sequence[str] = (), lang: str = "en", redact: Literal["", "names", "all"] = "") -> Outputs:
    """Return the outputs by names of formats; ``parquet`` writes the summary as Parquet too.

    Raises OptionError for an unknown format, or if Parquet needs a library that is not installed.
    """
    suffixes = [".json"]
    for name in formats:
        suffix = suffix_of(name)
        if suffix not in SUFFIXES:
            known = ", ".join(known_suffix[1:] for known_suffix in SUFFIXES)
            raise OptionError(f"--format {name}: expected one of {known}")
        suffixes.append(suffix)
    if any(suffix.endswith(".parquet") for suffix in suffixes):
        _need_pyarrow()
    return Outputs(suffixes=tuple(dict.fromkeys(suffixes)), lang=lang, redact=redact)


def _each(
    function: Callable[[Task], R],
    tasks: Sequence[Task],
    workers: int | None,
    scheduler: str | None,
    limits: WorkerLimits,
) -> Iterator[tuple[Task, R | Failed]]:
    if scheduler is None:
        return run_local(function, tasks, workers, limits)
    # An extra, and slow to import.
    from evtx_analyzer.batch.cluster import run_cluster  # noqa: PLC0415

    return run_cluster(function, tasks, scheduler, limits)


def _longest_first(tasks: Iterable[Task]) -> list[Task]:
    """Return the tasks by the size of their bundles, largest first."""
    # One worker would still be busy for long if the largest bundle began last.
    return sorted(tasks, key=lambda task: (-task.bundle.size, task.bundle.name))


def _need_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401, ICN001, PLC0415  slow to import, asked for here only
    except ImportError:
        raise OptionError("--format parquet needs a library: pip install pyarrow") from None
