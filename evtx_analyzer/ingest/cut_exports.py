"""Exports of configuration that are cut: what they do not show is not known, and stands under the losses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from evtx_analyzer.exchange import COMPARED
from evtx_analyzer.model.events import Event, Setting
from evtx_analyzer.model.origin import Loss

_REASON = "the export is cut, so what it does not show of this is not known: export it again with Export-Clixml"


def cut_properties(setting: Setting) -> list[str]:
    """Return the properties of an exported object that are compared with refusals and are not whole."""
    return [name for name in COMPARED.get(setting.cmdlet, ()) if name in setting.cut]


def cut_exports(exported: Iterable[Event]) -> Iterator[Loss]:
    """Yield a loss for each exported object of which a property that matters is cut."""
    for item in exported:
        if isinstance(item, Setting) and (names := cut_properties(item)):
            yield Loss(origin=item.origin, reason=_REASON, extent=f"{item.cmdlet}: {', '.join(names)}")
