"""One bundle to one report: the same pure function in a process on this machine and on a Dask worker.

A saved report is named by its bundle's content and says by which settings it was made, so that ``--resume`` can tell
what is done without a record of its own.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import closing
from functools import lru_cache
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.batch.bundles import Bundle
from evtx_analyzer.batch.outcome import BundleError
from evtx_analyzer.batch.summary import Summary, merge
from evtx_analyzer.discover import files
from evtx_analyzer.discover.archive.limits import read_password
from evtx_analyzer.discover.source import Source
from evtx_analyzer.errors import AnalyzerError, InputError, OptionError, ReportError
from evtx_analyzer.model.findings import Verdict
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.options import AnalysisOptions
from evtx_analyzer.pipeline import analyze_case
from evtx_analyzer.report.document import SCHEMA_VERSION, BatchEntry, Options, Report, Tool, load
from evtx_analyzer.rules import Rules
from evtx_analyzer.rules.files import rules_version
from evtx_analyzer.version import VERSION

_BLOCK = 1 << 20
_NAME_LENGTH = 24

PART = ".part"
"""What the name of a report holds while it is written."""


class Settings(Struct, frozen=True, kw_only=True):
    """Everything beside the bundle that decides what its report says; ``rules_version`` is a hash of the rule set.

    ``options`` hold neither rules nor a password: a worker loads the rules of the folder itself, and the password stays
    in its file or in the environment of each worker.
    """

    options: AnalysisOptions = AnalysisOptions()
    rules: str | None = None
    rules_version: str = ""
    password_file: str | None = None

    @property
    def key(self) -> str:
        """Hash of the settings and of this program's version."""
        told = replace(self, rules=None, password_file=None)
        secret = read_password(self.password_file) is not None
        data = msgspec.json.encode([told, VERSION, SCHEMA_VERSION, secret])
        return hashlib.sha256(data).hexdigest()


class Task(Struct, frozen=True, kw_only=True):
    """One bundle and what to do with it: ``folder`` takes the report in ``suffixes``, None where it is only given."""

    bundle: Bundle
    settings: Settings
    folder: str | None = None
    suffixes: tuple[str, ...] = (".json",)
    resume: bool = False


def summarize(task: Task) -> Summary:
    """Analyze a bundle, write its report, and give back the small part of it that the summary needs."""
    return merge([report_on(task)])


def encoded(task: Task) -> bytes:
    """Analyze a bundle and give the whole report as JSON, which any process can read."""
    return msgspec.json.encode(report_on(task))


def report_on(task: Task) -> Report:
    """The report on one bundle; one that cannot be read gives a report that says so. Raises BundleError."""
    try:
        sources = files(task.bundle.inputs)
        content = _content(sources)
    except InputError as error:
        return not_read(task.bundle, "not-read", str(error))
    entry = BatchEntry(bundle="", content=content, settings=task.settings.key, status="read")
    report = _done(task, entry) if task.resume else None
    if report is None:
        report = _analyzed(task, sources, entry)
    if task.folder is not None:
        _write(task, content, report)
    return replace(report, batch=replace(report.batch or entry, bundle=task.bundle.name))


def report_name(content: str, suffix: str) -> str:
    """File name of the report on a bundle with that content."""
    return content[:_NAME_LENGTH] + suffix


def not_read(bundle: Bundle, status: str, reason: str, entry: BatchEntry | None = None) -> Report:
    """The report on a bundle that gave nothing, not even the reason file by file."""
    title = "The bundle could not be analyzed" if status == "failed" else "Nothing in the bundle could be read"
    known = entry or BatchEntry(bundle=bundle.name, content="", settings="", status="read")
    return Report(
        schema_version=SCHEMA_VERSION,
        tool=Tool(name="evtx-analyzer", version=VERSION),
        options=Options(),
        verdict=Verdict(cause=None, grade=None, title=title, summary=reason),
        findings=(),
        incidents=(),
        operations=(),
        deliveries=(),
        sources=(),
        coverage=(),
        losses=(Loss(origin=Origin(source=bundle.name), reason=reason, extent="the whole bundle"),),
        batch=replace(known, status=status, reason=reason),
    )


def _analyzed(task: Task, sources: list[Source], entry: BatchEntry) -> Report:
    settings = task.settings
    try:
        options = replace(
            settings.options,
            rules=_rules(settings.rules, settings.rules_version),
            password=read_password(settings.password_file),
            anyway=True,
            jobs=1,
        )
        report = analyze_case(sources, options)
    except InputError as error:
        return not_read(task.bundle, "not-read", str(error), entry)
    except AnalyzerError:
        raise
    except Exception as error:  # the boundary of a bundle: the others must go on
        text = f"this program failed on it ({type(error).__name__}: {error}); please report this"
        raise BundleError(text) from error
    return _judged(report, entry)


def _judged(report: Report, entry: BatchEntry) -> Report:
    if any(item.status in ("read", "partial") for item in report.sources):
        return replace(report, batch=replace(entry, status="partial" if report.losses else "read"))
    told = [f"{item.path}: {item.reason}" for item in report.sources[:3]] or ["it holds no file"]
    more = len(report.sources) - len(told)
    reason = "; ".join([*told, f"and {more} more"] if more > 0 else told)
    verdict = Verdict(cause=None, grade=None, title="Nothing in the bundle could be read", summary=reason)
    return replace(report, verdict=verdict, batch=replace(entry, status="not-read", reason=reason))


@lru_cache(maxsize=2)
def _rules(folder: str | None, version: str) -> Rules:
    """The rule set, checked to be the one that the batch was started with."""
    if rules_version(folder) != version:
        where = folder or "the installed package"
        raise OptionError(
            f"this worker has other rules in {where} than the machine that started the batch; "
            "install the same version, or put the rules where all workers see them"
        )
    return Rules.load(folder)


def _content(sources: list[Source]) -> str:
    """SHA-256 over the names, as reports show them, and the contents of a bundle's files."""
    lines = []
    for source in sources:
        digest = hashlib.sha256()
        try:
            with closing(source.open()) as stream:
                while block := stream.read(_BLOCK):
                    digest.update(block)
        except OSError as error:
            digest.update(f"cannot be read: {error.strerror or error}".encode())
        lines.append(f"{source.path}\0{digest.hexdigest()}\n")
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _done(task: Task, entry: BatchEntry) -> Report | None:
    """The report of an earlier run on the same content by the same settings, if there is one that can be read."""
    if task.folder is None:
        return None
    try:
        report = load(Path(task.folder) / report_name(entry.content, ".json"))
    except ReportError:
        return None
    known = report.batch
    if known is None or (known.content, known.settings) != (entry.content, entry.settings):
        return None
    return report


def _write(task: Task, content: str, report: Report) -> None:
    """Write the report in every format, each at once or not at all; what is there unchanged is left alone."""
    assert task.folder is not None
    folder = Path(task.folder)
    for suffix in (*(item for item in task.suffixes if item != ".json"), ".json"):
        path = folder / report_name(content, suffix)
        if task.resume and path.exists() and _done_before(path, report):
            continue
        part = folder / f"{report_name(content, '')}.{os.getpid()}{PART}{suffix}"
        report.save(part)
        part.replace(path)


def _done_before(path: Path, report: Report) -> bool:
    """Whether a file belongs to the report: JSON, which is written last, says by which settings it was made."""
    try:
        known = load(path.with_suffix(".json")).batch
    except ReportError:
        return False
    return known == report.batch
