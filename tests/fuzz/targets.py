"""What is fuzzed: each target takes bytes, and raises nothing but the errors that this package documents."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from unittest import mock

from evtx_analyzer import verification
from evtx_analyzer.discover.archive.expand import Archives
from evtx_analyzer.discover.archive.limits import Limits
from evtx_analyzer.discover.source import Source
from evtx_analyzer.errors import AnalyzerError
from evtx_analyzer.model.events import CertificateFile
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import EventRecord, LogRow
from evtx_analyzer.normalize import normalize
from evtx_analyzer.options import AnalysisOptions, analysis_options
from evtx_analyzer.pipeline import Analyzed, analyze, analyze_with_evidence
from evtx_analyzer.read import HEAD, SYNTAXES, read, recognize
from evtx_analyzer.read.evtx.reader import ChunkSelection, read_evtx
from evtx_analyzer.read.evtx.search import Search
from evtx_analyzer.report import SUFFIXES, render_for
from evtx_analyzer.report.document import Report, loads, to_json
from evtx_analyzer.report.language import ENGLISH
from evtx_analyzer.rules.parsing import parse
from samples import cases
from tests.fuzz import corpus, made

_ORIGIN = Origin(source="input")
_LIMITS = Limits(total_bytes=8 << 20, members=500)


@dataclass(frozen=True)
class Target:
    """A function that takes bytes, and the inputs that fuzzing begins with."""

    run: Callable[[bytes], None]
    seeds: Callable[[], tuple[bytes, ...]]


def _reader(syntax: str, data: bytes) -> None:
    recognize(data[:HEAD])
    for item in read(syntax, io.BytesIO(data), _ORIGIN):
        if isinstance(item, EventRecord | LogRow | CertificateFile):
            normalize(item)
        else:
            assert not isinstance(item, Loss) or item.reason


def _counted_evtx(data: bytes) -> None:
    selection = ChunkSelection(Search([[frozenset({"800B0109"})]]), lambda *_: True)
    for item in read_evtx(io.BytesIO(data), _ORIGIN, selection):
        if isinstance(item, EventRecord):
            normalize(item)


def _source(data: bytes, name: str = "input") -> Source:
    return Source(origin=Origin(source=name), size=len(data), open=lambda: io.BytesIO(data))


def _archive(data: bytes) -> None:
    for source in Archives(_LIMITS, None).expand(_source(data)):
        if not source.fault:
            with closing(source.open()) as stream:
                while stream.read(1 << 16):
                    pass


def _analyze(data: bytes) -> None:
    to_json(analyze([_source(data)], anyway=True, limits=_LIMITS, jobs=1))


def _beside(name: str, data: bytes) -> None:
    """Analyze a file beside a case that looks at such files."""
    case = cases.kb_event_xml()
    sources = [_source(content, path) for path, content in case.items()]
    to_json(analyze([*sources, _source(data, name)], anyway=True, limits=_LIMITS, jobs=1))


def _verify(data: bytes) -> None:
    """Verify a saved report against logs that are read once for all of them."""
    with mock.patch.object(verification, "analyze_with_evidence", _later):
        to_json(verification.verify(loads(data, "earlier.json"), []))


@cache
def _analyzed(_: frozenset[str]) -> Analyzed:
    sources = [_source(content, path) for path, content in made.later().items()]
    return analyze_with_evidence(sources, analysis_options(limits=_LIMITS, jobs=1))


def _later(_: object, options: AnalysisOptions, __: object) -> Analyzed:
    return _analyzed(options.certificates)


def _rule(part: str, data: bytes) -> None:
    parse({**corpus.rules(), part: {**corpus.rules()[part], "fuzzed.yml": data}})


def _rules_of(part: str) -> tuple[bytes, ...]:
    return tuple(corpus.rules()[part].values())


def _render(data: bytes) -> None:
    from evtx_analyzer.report.redact import redacted

    report: Report = loads(data, "x.json")
    for suffix in SUFFIXES:
        if "parquet" not in suffix:
            render_for(f"x{suffix}")(report, ENGLISH)
    redacted(report, everything=True)


TARGETS: dict[str, Target] = {
    **{name: Target(partial(_reader, name), partial(corpus.of_syntax, name)) for name, _, _ in SYNTAXES},
    "evtx-counted": Target(_counted_evtx, partial(corpus.of_syntax, "evtx")),
    "archive": Target(_archive, corpus.archives),
    "analyze": Target(_analyze, corpus.files),
    "packets": Target(partial(_beside, "trace.pcapng"), partial(corpus.of_syntax, "network-trace")),
    "stores": Target(partial(_beside, "store-ca.sst"), corpus.store_files),
    "verify": Target(_verify, made.earlier),
    "rules-signals": Target(partial(_rule, "signals"), partial(_rules_of, "signals")),
    "rules-links": Target(partial(_rule, "links"), partial(_rules_of, "links")),
    "rules-causes": Target(partial(_rule, "causes"), partial(_rules_of, "causes")),
    "rules-commands": Target(partial(_rule, "commands"), partial(_rules_of, "commands")),
    "render": Target(_render, corpus.reports),
}


def tried(target: Target, data: bytes) -> BaseException | None:
    """Run a target; return what it raised that it must not raise."""
    try:
        target.run(data)
    except AnalyzerError:
        return None
    except Exception as error:  # noqa: BLE001  this is what is looked for
        return error
    return None
