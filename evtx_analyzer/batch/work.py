"""Turn one bundle into one report, by the same function on this machine and on a Dask worker."""

from __future__ import annotations

import errno
import hashlib
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.batch.bundles import Bundle
from evtx_analyzer.batch.index import Record, believed, missing, signature
from evtx_analyzer.batch.outcome import UnwrittenError, why_unwritten
from evtx_analyzer.batch.summary import REPORTS, Summary, merge
from evtx_analyzer.discover import files
from evtx_analyzer.discover.archive.limits import read_password
from evtx_analyzer.discover.source import Source
from evtx_analyzer.errors import PROGRAM_FAILED, InputError, OptionError, ReportError
from evtx_analyzer.model.findings import Verdict
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.options import AnalysisOptions
from evtx_analyzer.pipeline import analyze_case
from evtx_analyzer.report import language, render_for
from evtx_analyzer.report.document import SCHEMA_VERSION, BatchEntry, Options, Report, Tool
from evtx_analyzer.rules import Rules
from evtx_analyzer.rules.files import rules_version
from evtx_analyzer.version import VERSION
from evtx_analyzer.whole_files import write_whole

_BLOCK = 1 << 20
_READABLE = (".html", ".md", ".txt")
_HIDDEN = "not said, for the names in it; see the run without --redact"
# Errors after which no other file can be written either. Windows has no EDQUOT.
_FULL = {errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}


class Settings(Struct, frozen=True, kw_only=True):
    """Everything besides the bundle that decides what its report says; ``rules_version`` is a hash of the rule set.

    ``options`` hold neither rules nor a password: a worker loads the rules of the folder itself, and the password stays
    in its file or in the environment of each worker.
    """

    options: AnalysisOptions = AnalysisOptions()
    rules: str | None = None
    rules_version: str = ""
    password_file: str | None = None

    @property
    def key(self) -> str:
        """Return a hash of the settings and of this program's version; the rules count by their contents only."""
        settings = replace(self, rules=None, password_file=None)
        secret = read_password(self.password_file) is not None
        data = msgspec.json.encode([settings, VERSION, SCHEMA_VERSION, secret])
        return hashlib.sha256(data).hexdigest()


class Outputs(Struct, frozen=True, kw_only=True):
    """The outputs of each bundle: the suffixes of its files, their language, and what is replaced by aliases."""

    suffixes: tuple[str, ...] = (".json",)
    lang: str = "en"
    redact: Literal["", "names", "all"] = ""


class Task(Struct, frozen=True, kw_only=True):
    """One bundle and what to do with it.

    The report is written to ``folder`` in files called ``name``; with None for ``folder`` it is only returned.
    ``label`` is the bundle's name in the report. ``known`` is the record of an earlier run, whose report is kept if the
    contents are still the same.
    """

    bundle: Bundle
    settings: Settings
    outputs: Outputs = Outputs()
    folder: str | None = None
    name: str = ""
    label: str = ""
    known: Record | None = None

    @property
    def key(self) -> str:
        """Return a hash of everything besides the contents that decides what the report says."""
        return hashlib.sha256(f"{self.settings.key} {self.label} {self.outputs.redact}".encode()).hexdigest()


class Finished(Struct, frozen=True):
    """The result of a worker: the bundle's part of the summary, the report's record, and the originals by alias."""

    summary: Summary
    record: Record | None = None
    originals: dict[str, str] = {}


def summarize(task: Task) -> Finished:
    """Analyze a bundle, write its report, and return the small part of it that the summary needs."""
    report, record, originals = _worked(task)
    return Finished(filed(task, report), record, originals)


def filed(task: Task, report: Report) -> Summary:
    """Return the part of a report that the summary needs, with the paths of the report's files."""
    summary = merge([report])
    if report.batch is None or not report.batch.content:
        return summary  # the bundle could not be opened, so no report of it is written
    suffix = next((suffix for suffix in _READABLE if suffix in task.outputs.suffixes), None)
    path = f"{REPORTS}/{task.name}"
    readable = f"{path}{suffix}" if suffix else ""
    return replace(summary, rows=tuple(replace(row, report=f"{path}.json", readable=readable) for row in summary.rows))


def encoded(task: Task) -> bytes:
    """Analyze a bundle and return the whole report as JSON, which the parent decodes."""
    return msgspec.json.encode(_worked(task)[0])


def _worked(task: Task) -> tuple[Report, Record | None, dict[str, str]]:
    """Return the report on a bundle, its record if it was written, and the originals by alias.

    A bundle that cannot be read has a report that says so. Raises UnwrittenError if the report cannot be written.
    """
    # Taken before anything is read, so that a file that changes during the analysis is read again the next time.
    before = signature(task.bundle) if task.folder else ""
    try:
        sources = files(task.bundle.inputs)
        content = _content(sources)
    except InputError as error:
        return not_read(task, "not-read", str(error)), None, {}
    entry = BatchEntry(bundle=task.label, content=content, settings=task.key, status="read")
    folder, known, originals = Path(task.folder or "."), task.known, dict[str, str]()
    report = None
    if known is not None and task.folder and known.content == content:
        report = believed(folder, known, task.key)
    if report is None:
        known = None
        report, originals = _redacted(_analyzed(task, sources, entry), task.outputs.redact)
    if task.folder is None:
        return report, None, originals
    digests = _write(task, known, report)
    record = Record(
        name=task.name, signature=before, content=content, settings=task.key, lang=task.outputs.lang, files=digests
    )
    return report, record, originals


def _redacted(report: Report, redact: Literal["", "names", "all"]) -> tuple[Report, dict[str, str]]:
    """Return the report with aliases, if they are asked for, and the originals by alias."""
    if not redact:
        return report, {}
    from evtx_analyzer.report.redact import redacted  # noqa: PLC0415  seldom asked for

    clean, originals = redacted(report, everything=redact == "all")
    if report.batch is not None and clean.batch is not None:
        # The bundle has its alias already (``Task.label``), which must not get another one.
        clean = replace(clean, batch=replace(report.batch, reason=clean.batch.reason))
    return clean, originals


def not_read(task: Task, status: str, reason: str, entry: BatchEntry | None = None) -> Report:
    """Return the report on a bundle of which nothing is known but the reason."""
    title = "The bundle could not be analyzed" if status == "failed" else "Nothing in the bundle could be read"
    known = entry or BatchEntry(bundle=task.label, content="", settings="", status="read")
    if task.outputs.redact and (status != "failed" or reason.startswith(PROGRAM_FAILED)):
        reason = _HIDDEN
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
        losses=(Loss(origin=Origin(source=task.label), reason=reason, extent="the whole bundle"),),
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
        return not_read(task, "not-read", str(error), entry)
    return _judged(report, entry)


def _judged(report: Report, entry: BatchEntry) -> Report:
    if any(source.status in ("read", "partial") for source in report.sources):
        return replace(report, batch=replace(entry, status="partial" if report.losses else "read"))
    reasons = [f"{source.path}: {source.reason}" for source in report.sources[:3]] or ["it holds no file"]
    more = len(report.sources) - len(reasons)
    reason = "; ".join([*reasons, f"and {more} more"] if more > 0 else reasons)
    verdict = Verdict(cause=None, grade=None, title="Nothing in the bundle could be read", summary=reason)
    return replace(report, verdict=verdict, batch=replace(entry, status="not-read", reason=reason))


@lru_cache(maxsize=2)
def _rules(folder: str | None, version: str) -> Rules:
    """Return the rule set. Raises OptionError if it is not the one with which the batch was started."""
    if rules_version(folder) != version:
        where = folder or "the installed package"
        raise OptionError(
            f"this worker has other rules in {where} than the machine that started the batch; "
            "install the same version, or put the rules where all workers see them"
        )
    return Rules.load(folder)


def _content(sources: list[Source]) -> str:
    """Return the SHA-256 of the names, as reports show them, and the contents of a bundle's files."""
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


def _write(task: Task, known: Record | None, report: Report) -> dict[str, str]:
    """Write the report in every format, JSON last, and return the digests by suffix.

    Files that an earlier run wrote of the same report stay. Raises UnwrittenError if a file cannot be written.
    """
    folder, outputs = Path(task.folder or "."), task.outputs
    # The JSON report stands for the bundle being done, so it comes when all others are there.
    suffixes = (*(suffix for suffix in outputs.suffixes if suffix != ".json"), ".json")
    wanted, digests = suffixes, dict[str, str]()
    if known is not None:
        same_language = known.lang == outputs.lang
        stale = missing(folder, known, suffixes) if same_language else suffixes[:-1]
        digests = {suffix: known.files[suffix] for suffix in suffixes if suffix not in stale}
        wanted = tuple(suffix for suffix in suffixes if suffix in stale)
    say = language.load(outputs.lang, task.settings.rules)
    for suffix in wanted:
        path = folder / f"{task.name}{suffix}"
        data = render_for(path)(report, say)
        try:
            write_whole(path, data)
        except ReportError as error:
            reason = f"its report cannot be written ({why_unwritten(error)})"
            raise UnwrittenError(reason, getattr(error.__cause__, "errno", None) in _FULL) from error
        digests[suffix] = hashlib.sha256(data).hexdigest()
    return digests
