"""Manifests of the collection script: machine and time zone of the files next to them, and what the script did not get.

A manifest applies to the folders that the script writes next to it and to no others, so that logs which somebody put
into the same folder are not taken for this machine's. Rows that name their machine are believed before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.hosts import folder_of, short
from evtx_analyzer.ingest.examine import ExaminedSource
from evtx_analyzer.model.findings import CollectorBundle
from evtx_analyzer.model.manifest import CollectorManifest
from evtx_analyzer.model.origin import Loss
from evtx_analyzer.read.collector_manifest import COLLECTOR, read_collector_manifest

SYNTAX = "collector-manifest"
_PARTS = re.compile(
    r"(?:SmtpSend-(?:Hub|Edge|FrontEnd)|SMTPSVC\d*|events|stores|configuration|machine|trace)", re.IGNORECASE
)


class Bundle(Struct, frozen=True, kw_only=True):
    """A manifest with the folder in which it lies, and the files to which it applies, by path."""

    manifest: CollectorManifest
    folder: str
    parts: Mapping[str, str]


class Manifests(Struct, frozen=True, kw_only=True):
    """All manifests of a case, each for its own files; ``losses`` are for those that contradict each other."""

    bundles: tuple[Bundle, ...] = ()
    losses: tuple[Loss, ...] = ()

    def zones(self) -> dict[str, ZoneInfo]:
        """Return the time zone of each file to which a manifest applies, by path."""
        return {
            path: clock.zone(bundle.manifest.tz)
            for bundle in self.bundles
            if bundle.manifest.tz
            for path in bundle.parts
        }

    def export_times(self) -> dict[str, datetime]:
        """Return when the stores were exported, by path of the file."""
        return {
            path: bundle.manifest.ended
            for bundle in self.bundles
            if bundle.manifest.ended
            for path, part in bundle.parts.items()
            if part.casefold() == "stores"
        }

    def hosts(self, named: Iterable[tuple[str, str]]) -> tuple[dict[str, str], list[Loss]]:
        """Return the machine of each file, and losses where rows name another machine.

        ``named`` are the (path, name) of rows, which are believed where they differ. A machine that was renamed writes
        both names, so it is enough if one of them is the manifest's.
        """
        names: dict[str, set[str]] = {}
        for path, name in named:
            names.setdefault(path, set()).add(short(name))
        machines: dict[str, str] = {}
        losses: list[Loss] = []
        for bundle in self.bundles:
            host = bundle.manifest.host
            rows = [names[path] for path, part in bundle.parts.items() if part.casefold() == "events" and path in names]
            others = sorted({name for written in rows if host not in written for name in written})
            if host and others:
                reason = (
                    f"the manifest of the collector names {host}, events beside it {', '.join(others)}: "
                    "the machine is not taken from the manifest"
                )
                losses.append(Loss(origin=bundle.manifest.origin, reason=reason, extent="the name of the machine"))
            elif host:
                machines |= dict.fromkeys(bundle.parts, host)
        return machines, losses

    def reported(self) -> list[CollectorBundle]:
        """Return the bundles as the report shows them, with what the script did not get."""
        return [
            CollectorBundle(
                path=bundle.folder,
                collector=COLLECTOR,
                server=bundle.manifest.host,
                contents=tuple(sorted(set(bundle.parts.values()))),
                markers=(),
                never_collected=(),
                failed=tuple(_failed(bundle.manifest)),
            )
            for bundle in self.bundles
        ]

    def uncollected(self) -> list[tuple[str, str]]:
        """Return machine and step of everything that the script tried to collect and did not get."""
        return [
            (bundle.manifest.host, f"{step.name} ({step.detail})" if step.detail else step.name)
            for bundle in self.bundles
            for step in bundle.manifest.steps
            if step.status == "failed"
        ]


def _failed(manifest: CollectorManifest) -> list[str]:
    steps = [f"{step.name}: {step.detail or step.status}" for step in manifest.steps if step.status != "ok"]
    return [
        *([] if manifest.completed else ["the script was stopped before its end"]),
        *(f"not put back on the server, do it by hand: {command}" for command in manifest.left_changed),
        *steps,
    ]


def read_manifests(examined: Sequence[ExaminedSource]) -> Manifests:
    """Read all manifests before anything else; if those in one folder differ in machine or zone, none is used."""
    by_folder: dict[str, list[CollectorManifest]] = {}
    for source in examined:
        if source.syntax == SYNTAX and not source.duplicate_of and not source.error:
            # Losses are dropped here: they are recorded when the manifest is read like any other source.
            with closing(source.source.open()) as stream:
                by_folder.setdefault(folder_of(source.source.path), []).extend(
                    record
                    for record in read_collector_manifest(stream, source.source.origin)
                    if not isinstance(record, Loss)
                )
    bundles, losses = [], []
    for folder, manifests in sorted(by_folder.items()):
        if len({(manifest.host, manifest.tz) for manifest in manifests}) > 1:
            reason = "several manifests of the collector lie in one folder and differ: none of them is used"
            losses += [Loss(origin=manifest.origin, reason=reason, extent="the whole file") for manifest in manifests]
        elif manifests:
            paths = (source.source.path for source in examined)
            parts = {path: part for path in paths if (part := _part(path, folder))}
            bundles.append(Bundle(manifest=manifests[-1], folder=folder, parts=parts))
    return Manifests(bundles=tuple(bundles), losses=tuple(losses))


def _part(path: str, folder: str) -> str:
    """Return the folder next to the manifest in which a file lies, if the script writes it; else empty."""
    below = path[len(folder) :].lstrip("/!") if not folder or path.startswith((f"{folder}/", f"{folder}!")) else ""
    part, _, inside = below.partition("/")
    return part if inside and _PARTS.fullmatch(part) else ""
