"""The accounts of all sources taken together: what was read and what was lost of a case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from evtx_analyzer.errors import InputError
from evtx_analyzer.exchange import COMPARED
from evtx_analyzer.ingest.account import SourceAccount
from evtx_analyzer.ingest.coverage import joined, with_notices
from evtx_analyzer.model.events import Event, Setting
from evtx_analyzer.model.findings import Coverage, SourceStatus
from evtx_analyzer.model.origin import Loss, sort_key
from evtx_analyzer.normalize import capi2

MOST_UNRECOGNIZED = 1_000
"""Files of no known kind that are listed one by one; 20,000 of them would take 10 MB in a report."""
_CUT = "the export is cut, so what it does not show of this is not known: export it again with Export-Clixml"


def losses_of(accounts: Iterable[SourceAccount]) -> list[Loss]:
    """Return the losses of all sources, among them those that could not be read at all."""
    return [loss for account in accounts for loss in account.losses()]


def coverage_of(accounts: Iterable[SourceAccount]) -> list[Coverage]:
    """Return the coverage of every source and kind, in the order of sources."""
    all_accounts = list(accounts)
    spans = sorted(
        (pair for account in all_accounts for pair in account.coverage()),
        key=lambda pair: (pair[0].source, pair[0].kind),
    )
    return with_notices(joined(spans), [notice for account in all_accounts for notice in account.notices])


def unread_of(accounts: Iterable[SourceAccount]) -> frozenset[str]:
    """Return ``capi2`` where the input holds CAPI2 logs, by name or by what they show, and none could be read."""
    logs = [account for account in accounts if not account.examined.duplicate_of and account.is_capi2_log]
    return frozenset({capi2.KIND} if logs and not any(capi2.KIND in account.spans for account in logs) else ())


def local_notes_of(accounts: Iterable[SourceAccount]) -> dict[tuple[str, str], str]:
    """Return a note, by source and kind, where the UTC time of rows is not known."""
    return {key: note for account in accounts for key, note in account.local_notes().items()}


def hosts_of(accounts: Iterable[SourceAccount]) -> list[tuple[str, str]]:
    """Return every machine that rows name, with the source that names it."""
    spans = [span for account in accounts for span in account.spans.values()]
    return sorted({(span.source, host) for span in spans for host in span.hosts})


def require_readable(accounts: Sequence[SourceAccount]) -> None:
    """Raise InputError if no source could be read, after all of them were tried."""
    statuses = [account.status() for account in accounts]
    if any(status.status in ("read", "partial") for status in statuses):
        return
    expected = "expected a CAPI2 Operational export (.evtx or XML), SMTP logs, message tracking or reports"
    if not statuses:
        raise InputError(f"the input holds no file; {expected}")
    shown = "; ".join(f"{status.path}: {status.reason}" for status in statuses[:3])
    more = f"; and {len(statuses) - 3} more" if len(statuses) > 3 else ""  # noqa: PLR2004  three are shown
    raise InputError(f"nothing in the input could be read ({shown}{more}); {expected}")


def sorted_losses(losses: Iterable[Loss]) -> tuple[Loss, ...]:
    """Return the losses sorted by place, each once."""
    return tuple(sorted(set(losses), key=lambda loss: (sort_key(loss.origin), loss.reason, loss.extent)))


def bounded(statuses: Iterable[SourceStatus]) -> tuple[SourceStatus, ...]:
    """Return the sources in their order, with an entry for the number of unrecognized ones beyond the limit.

    A folder may hold thousands of files that are no logs. All other sources are always listed.
    """
    listed: list[SourceStatus] = []
    unlisted: list[SourceStatus] = []
    unrecognized = 0
    for source in statuses:
        unrecognized += source.status == "unrecognized"
        (unlisted if source.status == "unrecognized" and unrecognized > MOST_UNRECOGNIZED else listed).append(source)
    if unlisted:
        reason = f"{len(unlisted):,} more files that are no log of a known kind; they are not listed one by one"
        size = sum(source.size for source in unlisted)
        path, kind = "(more files)", "unknown"
        listed.append(SourceStatus(path=path, kind=kind, sha256="", size=size, status="unrecognized", reason=reason))
    return tuple(listed)


def cut_properties(setting: Setting) -> list[str]:
    """Return the properties of an exported object that are compared with refusals and not shown whole."""
    return [name for name in COMPARED.get(setting.cmdlet, ()) if name in setting.cut]


def cut_exports(exported: Iterable[Event]) -> Iterator[Loss]:
    """Yield a loss for each exported object of which a property that matters is cut."""
    for setting in exported:
        if isinstance(setting, Setting) and (names := cut_properties(setting)):
            yield Loss(origin=setting.origin, reason=_CUT, extent=f"{setting.cmdlet}: {', '.join(names)}")
