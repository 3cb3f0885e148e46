"""Values of exported configuration objects, as Format-List, JSON or Clixml write them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import combinations

from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.exchange_online import is_initial_domain, parse_address
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Setting
from evtx_analyzer.model.origin import Fields


class SeenLater(Struct, frozen=True):
    """What logs show of the same connector after the refusals, which an export without dates may be as late as.

    ``certificate_accepted`` and ``address_accepted`` say that mail with the refused certificate, and from the refused
    address, was accepted for outside recipients; ``sent`` are the certificates that its later sessions sent.
    """

    certificate_accepted: bool = False
    address_accepted: bool = False
    sent: tuple[Certificate, ...] = ()


NOTHING_SEEN_LATER = SeenLater()


def inside(address: str, scope: str) -> bool | None:
    """Return whether ``scope`` (an address or a CIDR range) holds an address; None if either cannot be parsed."""
    seen = parse_address(address)
    try:
        return None if seen is None else seen in ipaddress.ip_network(scope, strict=False)
    except ValueError:
        return None


def changed_since(setting: Setting, since: datetime | None) -> bool:
    """Return whether an object was changed after a time, so that it does not show what it was; None is not known."""
    return setting.changed is not None and since is not None and setting.changed > since


def changes_since(settings: Iterable[Setting], since: datetime | None) -> list[str]:
    """Return the objects that were changed after a time: ``From on-premises at 2026-03-10 12:00:00.000 UTC``."""
    return sorted(
        f"{setting.values.get('Name', '')} at {clock.as_text(setting.changed)}".strip()
        for setting in settings
        if changed_since(setting, since)
    )


def as_they_were(found: Sequence[Sequence[Setting]], since: datetime | None) -> list[Sequence[Setting]]:
    """Return exports without those made after a change, where another one shows the same objects before it.

    The name alone does not tell that an object is the same one: the other export may be another tenant's.
    """
    new = [any(changed_since(setting, since) for setting in export) for export in found]
    old = [setting for export, later in zip(found, new, strict=True) if not later for setting in export]
    known = {mark for setting in old if setting.changed for mark in _identity(setting)}
    return [
        export
        for export, later in zip(found, new, strict=True)
        if not later or known.isdisjoint(mark for setting in export for mark in _identity(setting))
    ]


def _identity(setting: Setting) -> set[tuple[str, str]]:
    """Return what only one object has: its name with its GUID, or with the time at which it was created."""
    name = setting.values.get("Name", "").casefold()
    marks = [setting.values.get(key, "").strip().casefold() for key in ("Guid", "ExchangeObjectId")]
    marks.append(setting.created.isoformat() if setting.created else "")
    return {(name, mark) for mark in marks if mark}


def exports(settings: Iterable[Setting], name: str, *, apart: bool) -> list[list[Setting]]:
    """Return exported objects by export: the files that hold other objects (by the property ``name``) are one export.

    With ``apart`` each file is one, for they are of several tenants.
    """
    made: list[tuple[set[str], list[Setting]]] = []
    for objects in _by_file(settings):
        names = {setting.values.get(name, "").casefold() for setting in objects}
        fitting = (export for export in made if names.isdisjoint(export[0]))
        export = None if apart else next(fitting, None)
        if export is None:
            made.append((names, objects))
        else:
            export[0].update(names)
            export[1].extend(objects)
    return [export for _, export in made]


def several_tenants(domains: Iterable[Setting]) -> bool:
    """Return whether files with accepted domains are of several tenants, by the initial domain of each."""
    tenants = {
        frozenset(
            name.partition(".")[0].casefold()
            for setting in objects
            if is_initial_domain(name := setting.values.get("DomainName", "").strip())
        )
        for objects in _by_file(domains)
    }
    return any(left.isdisjoint(right) for left, right in combinations(tenants - {frozenset()}, 2))


def _by_file(settings: Iterable[Setting]) -> list[list[Setting]]:
    by_file: dict[tuple[str, str | None], list[Setting]] = {}
    for setting in settings:
        by_file.setdefault((setting.origin.source, setting.origin.member), []).append(setting)
    return list(by_file.values())


def agreed(views: Iterable[Fields], deciding: str = "") -> Fields:
    """Return the facts of several exports as one: all values of lists, and of truth values those that agree.

    Where they do not agree on the field ``deciding``, no truth value of them is known.
    """
    joined: dict[str, dict[str, None]] = {}
    for view in views:
        for name, values in view.items():
            joined.setdefault(name, {}).update(dict.fromkeys(values))
    torn = len(joined.get(deciding, ())) > 1
    unknown = [{"true"}, {"false"}, {"true", "false"}] if torn else [{"true", "false"}]
    return {name: tuple(values) for name, values in joined.items() if set(values) not in unknown}


def listed(value: str) -> list[str]:
    """Return the entries of a list as Format-List, JSON or Clixml write it."""
    return [part for part in re.split(r"[,;\s]+", value.strip().strip("{}")) if part]


def same_text(left: str, right: str) -> bool:
    """Return whether two texts are the same but for case and surrounding blanks."""
    return left.strip().casefold() == right.strip().casefold()


def named_value(setting: Setting, name: str) -> str:
    """Return the name of an enumeration's value; empty if only its number is exported, as ``ConvertTo-Json`` does."""
    value = setting.values.get(name, "").strip()
    return "" if value.lstrip("-").isdecimal() else value
