"""Select the decoded events or operations that make the rows of a table.

Each kind of log has columns of its own (``normalize/kinds.py``). A CAPI2 event stands once, in the order of time, even
if several exports of one log hold it; rows of other kinds stand in the order of their files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.capi2.operations import operations
from evtx_analyzer.capi2.same_log import distinct
from evtx_analyzer.capi2.summaries import summary
from evtx_analyzer.columns import RecipientRow, Table
from evtx_analyzer.discover import discover
from evtx_analyzer.errors import InputError, OptionError
from evtx_analyzer.hosts import identify_hosts
from evtx_analyzer.ingest.account import SourceAccount
from evtx_analyzer.ingest.case_account import coverage_of, hosts_of, losses_of, require_readable, sorted_losses
from evtx_analyzer.ingest.events import ReadingOptions, events
from evtx_analyzer.ingest.examine import Inputs, examine, is_event_log, is_text_log, source_paths, without_copies
from evtx_analyzer.ingest.streams import silent
from evtx_analyzer.model.certificate import ChainElement
from evtx_analyzer.model.events import Capi2Event, Match, MessageEvent, RecipientStatus, SmtpEvent
from evtx_analyzer.model.evidence import Operation
from evtx_analyzer.model.findings import Coverage
from evtx_analyzer.model.origin import Loss
from evtx_analyzer.normalize import capi2
from evtx_analyzer.normalize.kinds import ROW_TABLES
from evtx_analyzer.tables.capi2 import EVENT_COLUMNS, OPERATION_COLUMNS

CAPI2 = capi2.KIND
Timed = Capi2Event | SmtpEvent | RecipientRow


class Filter(Struct, frozen=True, kw_only=True):
    """Conditions on rows, all of which must hold; ``since`` and ``until`` are aware times, both included.

    ``ids``, ``results`` and ``failed`` hold for an operation if they hold for any of its events.
    """

    ids: frozenset[int] = frozenset()
    results: frozenset[int] = frozenset()
    process: str = ""
    subject: str = ""
    since: datetime | None = None
    until: datetime | None = None
    failed: bool = False

    @property
    def capi2_only(self) -> bool:
        """Return whether the filter has a condition on something that only CAPI2 events have."""
        return bool(self.ids or self.results or self.process or self.subject or self.failed)

    def accepts(self, event: Timed) -> bool:
        """Return whether an event meets the conditions."""
        time = getattr(event, "time", None)
        if not (self._at(time) if time is not None else self.since is None and self.until is None):
            return False
        return not isinstance(event, Capi2Event) or self._accepts_capi2(event)

    def _accepts_capi2(self, event: Capi2Event) -> bool:
        return (
            (not self.ids or event.event_id in self.ids)
            and (not self.results or event.result in self.results)
            and (not self.failed or bool(event.result))
            and self._by(event.process)
            and self._about(_subjects(event))
        )

    def accepts_operation(self, operation: Operation) -> bool:
        """Return whether an operation meets the conditions: by its time, process and names, and by any event in it."""
        results = {int(step.result, 16) for step in operation.steps if step.result}
        parts: tuple[Operation | ChainElement, ...] = (operation, *operation.elements)
        return (
            self._at(operation.time)
            and (not self.ids or any(step.event_id in self.ids for step in operation.steps))
            and (not self.results or bool(results & self.results))
            and (not self.failed or bool(results - {0}))
            and self._by(operation.process)
            and self._about(name for part in parts for name in (part.subject, part.thumbprint))
        )

    def _at(self, time: datetime) -> bool:
        return (self.since is None or time >= self.since) and (self.until is None or time <= self.until)

    def _by(self, process: str) -> bool:
        wanted = self.process.casefold().removesuffix(".exe")
        return not wanted or process.casefold().removesuffix(".exe") == wanted

    def _about(self, names: Iterable[str]) -> bool:
        return not self.subject or any(self.subject.casefold() in name.casefold() for name in names)


EVERYTHING = Filter()
_NO_RECIPIENT = RecipientStatus(address="", text="")


class Extract(Struct, frozen=True, kw_only=True):
    """A table with its rows as events or operations (``items``, which may be an iterator).

    Losses and coverage are complete when all of ``items`` were taken.
    """

    table: Table
    items: Iterable[Any]
    accounts: tuple[SourceAccount, ...]

    @property
    def losses(self) -> tuple[Loss, ...]:
        """Return the losses of all sources."""
        return sorted_losses(losses_of(self.accounts))

    @property
    def coverage(self) -> tuple[Coverage, ...]:
        """Return the coverage of every source."""
        return tuple(coverage_of(self.accounts))


def extract(
    inputs: Inputs,
    *,
    kind: str = CAPI2,
    wanted: Filter = EVERYTHING,
    as_operations: bool = False,
    tz: str | None = None,
    old_names: bool = True,
) -> Extract:
    """Return events of one kind, or CAPI2 operations, from everything below ``inputs``.

    ``tz`` is the IANA time zone of logs in local time; ``old_names`` adds renamed columns under their names before 0.2.
    Raises InputError if nothing of the kind can be read, OptionError for an unknown kind, or a filter that it lacks.
    """
    if kind not in TABLES:
        raise OptionError(f"--kind {kind}: expected one of {', '.join(TABLES)}")
    if kind != CAPI2 and (wanted.capi2_only or as_operations):
        raise OptionError(
            f"--kind {kind}: --id, --result, --process, --subject, --failed, --operations and --story are for {CAPI2}"
        )
    sources = without_copies(examine(source, silent) for source in discover(source_paths(inputs)))
    accounts = _chosen([SourceAccount(source) for source in sources], kind)
    table = TABLES[kind].with_old_names() if old_names else TABLES[kind]
    typed = _events(accounts, ReadingOptions(clock.zone(tz) if tz else None), kind)
    if kind != CAPI2:
        return Extract(table=table, items=filter(wanted.accepts, typed), accounts=accounts)
    decoded = [event for _, event in distinct(event for event in typed if isinstance(event, Capi2Event))]
    require_readable(accounts)
    if not as_operations:
        items: list[Any] = [event for event in decoded if wanted.accepts(event)]
        return Extract(table=table, items=items, accounts=accounts)
    hosts = identify_hosts(hosts_of(accounts), [account.examined.source.path for account in accounts])
    every = operations((Match(event=event, signals=()) for event in decoded), hosts, coverage_of(accounts))
    items = [operation for operation in every if wanted.accepts_operation(operation)]
    return Extract(table=OPERATIONS, items=items, accounts=accounts)


def _chosen(every: Sequence[SourceAccount], kind: str) -> tuple[SourceAccount, ...]:
    """Return the sources that may hold the kind, and those that cannot be opened. Raises InputError without any."""
    may_hold = is_event_log if kind == CAPI2 else is_text_log
    chosen = tuple(account for account in every if may_hold(account.examined) or account.examined.error)
    if chosen:
        return chosen
    others = [
        (account.examined.source.path, account.examined.syntax or account.status().reason) for account in every[:3]
    ]
    shown = "; ".join(f"{path}: {reason}" for path, reason in others)
    expected = "a CAPI2 Operational export (.evtx or XML)" if kind == CAPI2 else f"logs of kind {kind}"
    raise InputError(f"nothing of kind {kind} in the input ({shown or 'no file'}); expected {expected}")


def _events(accounts: Iterable[SourceAccount], options: ReadingOptions, kind: str) -> Iterator[Timed]:
    for account in accounts:
        for event in () if account.examined.error else events(account, options):
            if isinstance(event, Capi2Event):
                if kind == CAPI2:
                    yield event
            elif isinstance(event, SmtpEvent):
                if event.kind == kind:
                    yield event
            elif isinstance(event, MessageEvent) and event.kind == kind:
                yield from (RecipientRow(event, recipient) for recipient in event.recipients or (_NO_RECIPIENT,))


def _subjects(event: Capi2Event) -> Iterator[str]:
    """Yield the names and thumbprints that an event is about."""
    for part in (event, *event.certificates, *event.chain, event.revocation):
        if part is not None:
            yield from (part.subject, part.thumbprint)
    for certificate in event.certificates:
        yield from certificate.alternate_names


OPERATIONS = Table(
    OPERATION_COLUMNS,
    lambda operation: next((step.text for step in operation.steps if step.origin == operation.origin), operation.kind),
)
# In the order in which messages list them.
TABLES: dict[str, Table] = {CAPI2: Table(EVENT_COLUMNS, summary), **ROW_TABLES}
