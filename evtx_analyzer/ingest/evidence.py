"""All inputs of a case to evidence: each source is looked at, SMTP logs are read, then CAPI2 exports twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.discover.hashing import Digests
from evtx_analyzer.discover.source import Source
from evtx_analyzer.hosts import HostOverrides, Hosts, identify_hosts
from evtx_analyzer.ingest.capi2_scan import evidence_for, failures
from evtx_analyzer.ingest.examine import ExaminedSource, Progress, examine, is_event_log, with_digest, without_copies
from evtx_analyzer.ingest.ledger import Ledger, Reading, require_readable, sorted_losses
from evtx_analyzer.ingest.smtp_scan import connections, smtp_sessions
from evtx_analyzer.ingest.tallies import Tallies
from evtx_analyzer.model.events import Match
from evtx_analyzer.model.evidence import ClockSkew
from evtx_analyzer.model.findings import Coverage, SourceStatus
from evtx_analyzer.model.origin import Loss
from evtx_analyzer.options import AnalysisOptions
from evtx_analyzer.rules import Rules
from evtx_analyzer.smtp.clock_skew import noted
from evtx_analyzer.smtp.folding import Folding
from evtx_analyzer.smtp.refusals import Refusals
from evtx_analyzer.smtp.rejections import refused_replies


class Account(Struct, frozen=True, kw_only=True):
    """What was read and what was lost, as a report lists it; ``unread`` are kinds of log that could not be read."""

    sources: tuple[SourceStatus, ...]
    coverage: tuple[Coverage, ...]
    losses: tuple[Loss, ...]
    unread: frozenset[str]


class CaseEvidence(Struct, frozen=True, kw_only=True):
    """What the sources of a case hold that matters: refused sessions, matches of CAPI2 events, and the tallies."""

    reading: Reading
    examined: tuple[ExaminedSource, ...]
    ledger: Ledger
    tallies: Tallies
    refused: Folding
    checks: tuple[Match, ...]

    def hosts(self, overrides: HostOverrides) -> Hosts:
        """Return the machines of the case, now that everything was read that may name one."""
        paths = [item.source.path for item in self.examined]
        tallies = self.tallies
        return identify_hosts(self.ledger.hosts(), paths, tallies.owners(), overrides, tallies.unnamed_logs)

    def read_connections(self, sessions: Iterable[str]) -> None:
        """Read connectivity logs, for what they say of the sessions that were refused."""
        connections(self.reading, sessions)

    def account(self, refused: Refusals, clocks: Sequence[ClockSkew]) -> Account:
        """Return the account of all readings; a queue that waits is a loss where no log shows what was refused."""
        ledger, tallies = self.ledger, self.tallies
        waiting = [] if refused.any else tallies.contexts.losses()
        coverage = noted(ledger.coverage(), clocks, ledger.local_notes(), refused.offsets)
        return Account(
            sources=tuple(ledger.status(item) for item in self.examined),
            coverage=tuple(coverage),
            losses=sorted_losses([*ledger.losses(self.examined), *tallies.errors.losses(), *waiting]),
            unread=ledger.unread(self.examined),
        )


def ingest(sources: Sequence[Source], rules: Rules, options: AnalysisOptions, progress: Progress) -> CaseEvidence:
    """Read all sources. Raises InputError where none can be read, unless the options ask for a report ``anyway``."""
    ahead = options.helpers > 0
    digests = Digests(options.helpers) if ahead else None
    examined = without_copies(examine(source, progress, digests) for source in sources)
    ledger, tallies = Ledger(clock.zone(options.tz) if options.tz else None, ahead=ahead), Tallies()
    reading = Reading(examined, rules, ledger, tallies, progress, options.prefilter)
    refused = tallies.refused
    for session in smtp_sessions(reading):
        tallies.session(session)
        if refused_replies(session):
            refused.add(session)
    anchors = sorted(refused.anchors() + tallies.message_times()) if any(map(is_event_log, examined)) else []
    checks = list(failures(reading, anchors))
    checks += evidence_for(reading, _certificates(checks, refused) | options.certificates, checks)
    examined = [with_digest(item) for item in examined]
    if not options.anyway:
        require_readable(examined, ledger)
    return CaseEvidence(
        reading=reading,
        examined=tuple(examined),
        ledger=ledger,
        tallies=tallies,
        refused=refused,
        checks=tuple(checks),
    )


def _certificates(checks: Iterable[Match], refused: Folding) -> frozenset[str]:
    """Return the thumbprints of certificates that failed, and of those that refused sessions sent or received."""
    failed = (getattr(match.event, "thumbprint", "") for match in checks)
    return frozenset({*failed, *(item.thumbprint for item in refused.certificates())} - {""})
