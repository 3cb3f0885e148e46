"""The output folder of a batch: reports with their index while it runs, the summary at its end.

A file that cannot be written is reported at the end; it never costs what is written already.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Self

import msgspec

from evtx_analyzer.batch.index import Index, believed, missing, signature
from evtx_analyzer.batch.outcome import Failed, why_unwritten
from evtx_analyzer.batch.summary import REPORTS, Summary, merge
from evtx_analyzer.batch.summary_files import to_csv, to_json, to_jsonl
from evtx_analyzer.batch.summary_page import to_html
from evtx_analyzer.batch.work import Finished, Outputs, Task, filed, not_read
from evtx_analyzer.errors import OptionError, ReportError
from evtx_analyzer.report import language
from evtx_analyzer.whole_files import is_part, write_whole

# A file of this size keeps room for the summary, which a full disk would cost: a row takes 2.7 KB in all formats.
_RESERVED_PER_BUNDLE = 4 << 10
_RESERVED = 64 << 10


class OutputFolder:
    """The folder while the batch runs, as a context manager; ``problems`` are sentences on what was not written."""

    def __init__(self, folder: str | os.PathLike[str], bundles: int) -> None:
        self._top = Path(folder).absolute()
        self.reports = self._top / REPORTS
        self._reserve = self._top / "summary.reserve"
        self._size = _RESERVED + bundles * _RESERVED_PER_BUNDLE
        self._unwritten, self._total = list[str](), bundles
        self._failures = list[str]()
        self._originals = dict[str, dict[str, str]]()
        self._seen = False

    def __enter__(self) -> Self:
        self.reports.mkdir(parents=True, exist_ok=True)
        self._sweep()
        with self._reserve.open("wb") as stream:
            stream.write(b"\0" * self._size)
        self.index = Index(self.reports)
        return self

    def __exit__(self, *failure: object) -> None:
        """Close the index, also after an interrupt, when no summary is written."""
        self._sweep()
        self._try("reports/index.jsonl", self.index.close)

    @property
    def problems(self) -> list[str]:
        """Return sentences on what could not be written and what to do; empty if everything was."""
        lines = []
        if self._unwritten:
            count = len(self._unwritten)
            lines.append(
                f"{count} of {self._total} bundles: {self._unwritten[0]}; "
                "the summary tells of the others: make room and repeat with --resume"
            )
        return lines + self._failures

    def done(self, tasks: Iterable[Task]) -> Iterator[tuple[str, Summary]]:
        """Yield each task that an earlier run did, by its name, with its part of the summary; no bundle is read."""
        for task in tasks:
            record, outputs = self.index.records.get(task.name), task.outputs
            if record is None or not record.signature or record.signature != signature(task.bundle):
                continue
            whole = record.lang == outputs.lang and not missing(self.reports, record, outputs.suffixes)
            if whole and (report := believed(self.reports, record, task.key)):
                yield task.name, filed(task, report)

    def take(self, task: Task, result: Finished | Failed) -> Summary:
        """Record the result of a task, and return its part of the summary."""
        if isinstance(result, Failed):
            if result.full:
                self._unwritten.append(result.reason)
            return merge([not_read(task, "failed", result.reason)])
        if result.originals:
            self._originals[task.label] = result.originals
        if result.record is not None:
            self._require_shared(task.name)
            self._try("reports/index.jsonl", lambda: self.index.add(result.record))  # type: ignore[arg-type]
        return result.summary

    def write_summary(self, summary: Summary, outputs: Outputs, rules: str | None) -> None:
        """Write the summary in all formats; one that cannot be written does not cost the others."""
        self._reserve.unlink(missing_ok=True)
        say = language.load(outputs.lang, rules)
        renderers: dict[str, Callable[[Summary], str]] = {
            "json": to_json,
            "html": partial(to_html, say=say),
            "csv": to_csv,
            "jsonl": to_jsonl,
        }
        for suffix, render in renderers.items():
            self._write(self._top / f"summary.{suffix}", render(summary).encode("utf-8", "replace"))
        if ".parquet" in outputs.suffixes:
            out = io.BytesIO()
            summary.to_pandas().to_parquet(out, index=False)
            self._write(self._top / "summary.parquet", out.getvalue())

    def write_map(self, path: Path, bundles: dict[str, str], resume: bool) -> None:
        """Write which alias stands for what in each bundle; with ``resume`` an earlier run's aliases are kept."""
        known: dict[str, dict[str, str]] = {}
        if resume:
            with contextlib.suppress(OSError, ValueError, TypeError):
                known = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, str]])
        whole = {
            label: {"bundle": name, **(self._originals.get(label) or known.get(label, {}))}
            for label, name in bundles.items()
        }
        text = json.dumps(dict(sorted(whole.items())), indent=2, ensure_ascii=False) + "\n"
        self._write(path, text.encode("utf-8", "replace"))

    def _write(self, path: Path, content: bytes) -> None:
        with contextlib.suppress(OSError):
            if path.read_bytes() == content:
                return
        try:
            write_whole(path, content)
        except ReportError as error:
            if not isinstance(error.__cause__, PermissionError):
                self._failures.append(f"{path.name} could not be written ({why_unwritten(error)})")
                return
            # On Windows a table that is open in Excel cannot be replaced.
            substitute = path.with_name(f"{path.stem}.1{path.suffix}")
            self._failures.append(f"{path.name} could not be replaced ({why_unwritten(error)}); see {substitute.name}")
            self._try(substitute.name, lambda: write_whole(substitute, content))

    def _try(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except (OSError, ReportError) as error:
            text = f"{name} could not be written ({why_unwritten(error)})"
            if text not in self._failures:
                self._failures.append(text)

    def _require_shared(self, name: str) -> None:
        """Raise OptionError if the first report that a worker wrote is not in this folder."""
        if not self._seen and not (self.reports / f"{name}.json").exists():
            raise OptionError(
                f"a worker wrote {REPORTS}/{name}.json, but it is not in {self._top.name}; "
                "-o must be a folder that this machine and all workers share under one path"
            )
        self._seen = True

    def _sweep(self) -> None:
        """Remove the part files of a run or a worker that was killed."""
        parts = (path for folder in (self.reports, self._top) for path in folder.iterdir() if is_part(path.name))
        for path in (*parts, self._reserve):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
