"""Network traces are read once; only the TLS handshakes of SMTP, and refusals in clear text, are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import BinaryIO, cast

from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.handshakes.flows import Flows
from evtx_analyzer.handshakes.observe import GIVEN_UP, ClearRefusal, Observed, is_over, moment, observe
from evtx_analyzer.ingest.account import SourceAccount
from evtx_analyzer.ingest.events import Reading, ReadingOptions, watched
from evtx_analyzer.ingest.examine import is_network_trace
from evtx_analyzer.model.alike import Alike
from evtx_analyzer.model.evidence import Rejection
from evtx_analyzer.model.handshake import Handshake
from evtx_analyzer.model.origin import Loss, Origin, sort_key
from evtx_analyzer.model.records import CountedRows
from evtx_analyzer.read import CAPTURE
from evtx_analyzer.read.capture import CaptureReader
from evtx_analyzer.read.capture_headers import Segment

_MOST = 20_000
_UNSEEN = (
    "the trace shows a refusal with 5.7.64 in clear text, and no log in the input shows it: add the SMTP log of the "
    "server that sent it"
)
_TOO_MANY = f"the trace holds more than {_MOST:,} TLS handshakes of SMTP: those after them are not kept"


class Wire(Struct, frozen=True, kw_only=True):
    """What all traces of a case show: TLS handshakes in the order of time, and refusals in clear text."""

    handshakes: tuple[Handshake, ...] = ()
    refusals: tuple[ClearRefusal, ...] = ()


def handshakes(reading: Reading) -> Wire:
    """Read the network traces of a case."""
    accounts = [account for account in reading.accounts if is_network_trace(account.examined)]
    kept = [observed for account in accounts for observed in _read(account, reading.options)]
    shown = [observed.handshake for observed in kept if observed.handshake is not None]
    shown.sort(key=lambda handshake: (handshake.start, handshake.local, sort_key(handshake.origin)))
    refusals = tuple(observed.refusal for observed in kept if observed.refusal is not None)
    return Wire(handshakes=tuple(shown), refusals=refusals)


def unseen_refusals(wire: Wire, rejections: Sequence[Rejection], alike: Sequence[Alike] = ()) -> list[Loss]:
    """Return losses for refusals that a trace shows in clear text and no log shows; ``alike`` are folded ones."""
    if not wire.refusals:
        return []
    known = {end for rejection in rejections for end in (rejection.remote_endpoint, rejection.local_endpoint)}
    for group in alike:
        known |= {group.shared.remote_endpoint, *(differing.local_endpoint for differing in group.differing())}
    return [
        Loss(
            origin=refusal.origin,
            reason=_UNSEEN,
            extent=f"1 session, {refusal.local} -> {refusal.remote} (at {clock.in_sentence(refusal.time, 'utc')})",
        )
        for refusal in wire.refusals
        if refusal.local not in known and refusal.remote not in known and refusal.remote.rpartition(":")[0] not in known
    ]


def _read(account: SourceAccount, options: ReadingOptions) -> list[Observed]:
    """Return what the connections of one trace show, and record what was read and lost in its account."""
    source, stream = account.examined.source.origin, watched(account, options)
    # A trace is only read forwards.
    reader = CaptureReader(cast("BinaryIO", stream), source)
    flows, tally = Flows(is_over, pairs=reader.pairs), _Tally(source)
    with account.reading(stream), closing(stream):
        for segment in reader.segments():
            tally.take(segment, flows)
        account.compare(stream)
    # Connections that were read before an archive turned out to be damaged still count.
    with account.reading():
        tally.end(flows)
    packets, first, last = reader.reach
    counted = None
    if first is not None and last is not None:
        earliest, latest = sorted((moment(first), moment(last)))
        counted = CountedRows(origin=source, log=CAPTURE, rows=packets, first=earliest, last=latest)
    account.count_packets(counted, tally.segments, tally.note())
    for loss in tally.losses():
        account.lose(loss)
    return tally.kept


class _Tally:
    """What was seen in one trace; it takes memory for handshakes that are kept, and for each kind of fault."""

    def __init__(self, source: Origin) -> None:
        self._source = source
        self._faults: dict[str, tuple[Origin, int]] = {}
        self._losses: list[Loss] = []
        self.kept: list[Observed] = []
        self.segments = 0

    def take(self, segment_or_loss: Segment | Loss, flows: Flows) -> None:
        """Take a segment, or a loss of the reader."""
        if isinstance(segment_or_loss, Loss):
            self._losses.append(segment_or_loss)
            return
        self.segments += 1
        for flow in flows.add(segment_or_loss):
            self._observe(observe(flow, self._source))

    def end(self, flows: Flows) -> None:
        """Observe the connections that are still open at the end of the trace."""
        for flow in flows.rest():
            self._observe(observe(flow, self._source))
        if flows.given_up:
            self._faults[GIVEN_UP] = (self._source, flows.given_up)

    def losses(self) -> Iterator[Loss]:
        """Yield what was lost, one loss for each kind."""
        yield from self._losses
        for reason, (origin, count) in self._faults.items():
            yield Loss(origin=origin, reason=reason, extent=f"{count} connection{'s' if count > 1 else ''}")

    def note(self) -> str:
        """Return the note for the trace's coverage: whether it was of use."""
        count = sum(observed.handshake is not None for observed in self.kept)
        if count:
            return f"TLS handshakes of SMTP in the trace: {count}"
        if self.segments:
            return "no TLS handshake of SMTP is in the trace, though packets of SMTP are"
        return "no packet of SMTP is in the trace (ports 25, 465, 587 and 2525, and connections with an SMTP banner)"

    def _observe(self, observed: Observed | None) -> None:
        """Keep what a connection showed, and count its faults."""
        if observed is None:
            return
        faults = observed.faults
        if observed.handshake is not None or observed.refusal is not None:
            if len(self.kept) < _MOST:
                self.kept.append(observed)
            else:
                faults = (*faults, _TOO_MANY)
        for reason in faults:
            first, count = self._faults.get(reason, (observed.origin, 0))
            self._faults[reason] = (first, count + 1)
