"""Exports of configuration that are cut: properties that they do not show are not known, and become losses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from evtx_analyzer.exchange import COMPARED
from evtx_analyzer.model.events import Event, Setting
from evtx_analyzer.model.origin import Loss

_REASON = "the export is cut, so what it does not show of this is not known: export it again with Export-Clixml"


def cut_properties(setting: Setting) -> list[str]:
    """Return the properties of an exported object that are compared with refusals and not shown whole."""
    return [name for name in COMPARED.get(setting.cmdlet, ()) if name in setting.cut]


def cut_exports(exported: Iterable[Event]) -> Iterator[Loss]:
    """Yield a loss for each exported object of which a property that matters is cut."""
    for setting in exported:
        if isinstance(setting, Setting) and (names := cut_properties(setting)):
            yield Loss(origin=setting.origin, reason=_REASON, extent=f"{setting.cmdlet}: {', '.join(names)}")
