"""The report: a frozen document of which every output is a function; it is written as JSON and read back.

JSON holds folded refusals as counts only, and of very long lists the most telling members (``bounds``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from evtx_analyzer.errors import ReportError
from evtx_analyzer.model.evidence import ClockSkew, CommonTrait, Context, Delivery, Incident, Operation, OtherError
from evtx_analyzer.model.findings import CollectorBundle, Coverage, Finding, NotListed, Repair, SourceStatus, Verdict
from evtx_analyzer.model.handshake import Handshake
from evtx_analyzer.model.origin import Loss
from evtx_analyzer.model.stores import Store, StoreChain
from evtx_analyzer.plain_text import whole_text
from evtx_analyzer.report.bounds import MOST_BYTES, bounded, shortened

SCHEMA_VERSION = 1


class Tool(Struct, frozen=True, kw_only=True):
    """The program that made a report."""

    name: str
    version: str


class Options(Struct, frozen=True, kw_only=True):
    """Options that change what a report says; None stands for the default.

    ``config`` names the file from which options came, and these options: ``evtx-analyzer.toml: host, tz``.
    """

    window: tuple[float, float] | None = None
    host: str | None = None
    tz: str | None = None
    since: str | None = None
    until: str | None = None
    rules: str | None = None
    redact: str | None = None
    config: str | None = None


class BatchEntry(Struct, frozen=True, kw_only=True):
    """The bundle that a report of a batch is about.

    ``content`` is the SHA-256 of the names and contents of the bundle's files; ``settings`` is that of everything else
    that decides what the report says: rules, options, version.
    """

    bundle: str
    content: str
    settings: str
    status: Literal["read", "partial", "not-read", "failed"]
    reason: str = ""


class Report(Struct, frozen=True, kw_only=True):
    """Everything that one run found. Field names are fixed by ``schema_version`` 1: some may be added, none renamed."""

    schema_version: int
    tool: Tool
    options: Options
    verdict: Verdict
    findings: tuple[Finding, ...]
    incidents: tuple[Incident, ...]
    operations: tuple[Operation, ...]
    deliveries: tuple[Delivery, ...]
    sources: tuple[SourceStatus, ...]
    coverage: tuple[Coverage, ...]
    losses: tuple[Loss, ...]
    bundles: tuple[CollectorBundle, ...] = ()
    batch: BatchEntry | None = None
    other_errors: tuple[OtherError, ...] = ()
    context: tuple[Context, ...] = ()
    clocks: tuple[ClockSkew, ...] = ()
    common: tuple[CommonTrait, ...] = ()
    handshakes: tuple[Handshake, ...] = ()
    stores: tuple[Store, ...] = ()
    store_chains: tuple[StoreChain, ...] = ()
    repair: Repair | None = None
    not_listed: tuple[NotListed, ...] = ()

    def save(self, path: str | Path, *, lang: str = "en") -> None:
        """Write the report; the suffix picks the format, ``lang`` the language of a readable one.

        Raises ReportError for an unknown suffix or if the file cannot be written, OptionError for an unknown language.
        """
        # Renderers are slow to import, and needed only when a report is written.
        from evtx_analyzer.report import language, write  # noqa: PLC0415

        write(self, path, language.load(lang))

    @property
    def rejection_count(self) -> int:
        """Return how many refusals with 5.7.64 were found, also in incidents that a saved report does not list."""
        return sum(incident.rejection_count for incident in self.incidents) + self._not_listed("rejections")

    @property
    def incident_count(self) -> int:
        """Return how many incidents there are, also those that a saved report does not list."""
        return len(self.incidents) + self._not_listed("incidents")

    @property
    def source_count(self) -> int:
        """Return how many inputs there are, also those that a saved report does not list."""
        return len(self.sources) + self._not_listed("sources")

    @property
    def loss_count(self) -> int:
        """Return how many losses there are, also those that a saved report does not list."""
        return len(self.losses) + self._not_listed("losses")

    def _not_listed(self, name: str) -> int:
        return sum(not_listed.count - not_listed.listed for not_listed in self.not_listed if not_listed.list == name)

    @property
    def exit_code(self) -> int:
        """Return the exit status: 0 clean, 1 refusals found, 2 nothing could be read, 3 no refusal but losses."""
        if self.rejection_count:
            return 1
        if not any(source.status in ("read", "partial") for source in self.sources):
            return 2
        return 3 if self.losses else 0


def to_json(report: Report) -> str:
    """Return the report as JSON, indented by two blanks, with the keys in the order of the document's fields."""
    text = bounded(without_folded(report), lambda cut: _indented(_encoded(cut)))
    if len(text) > MOST_BYTES:
        # Shorter lists did not help, so it is single texts that are too long.
        text = _indented(msgspec.json.encode(_with_texts(json.loads(text), shortened)))
    return text.decode() + "\n"


def _indented(data: bytes) -> bytes:
    return msgspec.json.format(data, indent=2)


def _encoded(report: Report) -> bytes:
    try:
        return msgspec.json.encode(report)
    except UnicodeEncodeError:
        # Readers join or replace surrogates; values of options and names of rules may still hold lone ones.
        return msgspec.json.encode(_with_texts(msgspec.to_builtins(report), whole_text))


def _with_texts(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401  any part of a report, as JSON has it
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(name): _with_texts(member, change) for name, member in value.items()}
    return [_with_texts(member, change) for member in value] if isinstance(value, list | tuple) else value


def without_folded(report: Report) -> Report:
    """Return the report as JSON holds it, with only the number of folded refusals."""
    return replace(report, incidents=tuple(replace(incident, folded=UNSET) for incident in report.incidents))


def load(path: str | Path) -> Report:
    """Return a saved JSON report. Raises ReportError if it cannot be read or has another schema version."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ReportError(f"{path}: cannot be read ({error.strerror})") from error
    return loads(data, str(path))


def loads(data: bytes, path: str) -> Report:
    """Return a saved JSON report from its bytes; errors name it by ``path``. Raises as ``load`` does."""
    try:
        report = msgspec.json.decode(data, type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReportError(
            f"{path}: is no report of this program (expected JSON of schema version 1): {error}"
        ) from error
    if report.schema_version != SCHEMA_VERSION:
        raise ReportError(f"{path}: has schema version {report.schema_version}; this program reads {SCHEMA_VERSION}")
    for problem in _contradictions(report):
        raise ReportError(f"{path}: was changed since this program wrote it: {problem}; use the report as it was saved")
    return report


def _contradictions(report: Report) -> Iterator[str]:
    """Yield contradictions in a report; this program writes none, and outputs and ``verify`` rely on that."""
    operations = {operation.id for operation in report.operations}
    for incident in report.incidents:
        rejections = {rejection.id for rejection in incident.rejections}
        if not rejections:
            yield f"incident {incident.id} has no refusal"
        for link in incident.links:
            if link.rejection not in rejections or link.operation not in operations:
                yield f"a pair names {link.rejection} and {link.operation}, which are not both in it"


def json_schema() -> str:
    """Return the JSON Schema (2020-12) of the report, its keys sorted."""
    return json.dumps(report_schema(), indent=2, sort_keys=True) + "\n"


def report_schema() -> dict[str, Any]:
    """Return the schema as data, its keys in the order in which a report is written."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:evtx-analyzer:report:{SCHEMA_VERSION}",
        "title": "Report of evtx-analyzer",
        **msgspec.json.schema(Report),
    }
    # Folded refusals stay in memory, for tables; JSON has only their number.
    del schema["$defs"]["Incident"]["properties"]["folded"]
    for name in ("Folded", "Alike"):
        del schema["$defs"][name]
    return schema
