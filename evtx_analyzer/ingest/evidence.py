"""All inputs of a case to evidence: each source is examined, SMTP logs are read, then CAPI2 exports, then traces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.discover.hashing import Digests
from evtx_analyzer.discover.source import Source
from evtx_analyzer.hosts import HostOverrides, Hosts, identify_hosts
from evtx_analyzer.ingest.account import SourceAccount
from evtx_analyzer.ingest.capi2_scan import evidence_for, failures
from evtx_analyzer.ingest.case_account import (
    bounded,
    coverage_of,
    cut_exports,
    hosts_of,
    local_notes_of,
    losses_of,
    require_readable,
    sorted_losses,
    unread_of,
)
from evtx_analyzer.ingest.events import Reading, ReadingOptions
from evtx_analyzer.ingest.examine import examine, is_event_log, without_copies
from evtx_analyzer.ingest.handshake_scan import Wire, handshakes, unseen_refusals
from evtx_analyzer.ingest.manifests import Manifests, read_manifests
from evtx_analyzer.ingest.smtp_scan import connections, smtp_sessions
from evtx_analyzer.ingest.streams import Progress
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
    """The evidence in the sources of a case: refused sessions, matches of CAPI2 events, traces and tallies."""

    reading: Reading
    refused: Folding
    checks: tuple[Match, ...]
    wire: Wire
    manifests: Manifests = Manifests()

    @property
    def tallies(self) -> Tallies:
        """The tallies of all rows and messages that were read."""
        return self.reading.tallies

    def hosts(self, overrides: HostOverrides) -> Hosts:
        """Return the machines of the case; all sources that may name one were read."""
        accounts, tallies = self.reading.accounts, self.tallies
        paths = [account.examined.source.path for account in accounts]
        named = hosts_of(accounts)
        stated, _ = self.manifests.hosts(named)
        return identify_hosts(named, paths, tallies.owners(), overrides, tallies.unnamed_logs, stated)

    def read_connections(self, sessions: Iterable[str]) -> None:
        """Read connectivity logs for what they say about the sessions that were refused."""
        connections(self.reading, sessions)

    def account(self, refused: Refusals, clocks: Sequence[ClockSkew]) -> Account:
        """Return the account of all readings.

        A queue with a refusal is a loss where no log shows what was refused.
        """
        accounts, tallies = self.reading.accounts, self.tallies
        waiting = [] if refused.any else tallies.contexts.losses()
        unseen = unseen_refusals(self.wire, refused.rejections, refused.alike)
        _, contradictions = self.manifests.hosts(hosts_of(accounts))
        cut = cut_exports(tallies.exported)
        losses = [*losses_of(accounts), *tallies.errors.losses(), *self.manifests.losses, *contradictions, *cut]
        coverage = noted(coverage_of(accounts), clocks, local_notes_of(accounts), refused.offsets)
        return Account(
            sources=bounded(account.status() for account in accounts),
            coverage=tuple(coverage),
            losses=sorted_losses([*losses, *waiting, *unseen]),
            unread=unread_of(accounts),
        )


def ingest(sources: Sequence[Source], rules: Rules, options: AnalysisOptions, progress: Progress) -> CaseEvidence:
    """Read all sources.

    Raises InputError where none can be read, unless the options ask for a report ``anyway``.
    """
    ahead = options.helpers > 0
    digests = Digests(options.helpers) if ahead else None
    examined = without_copies(examine(source, progress, digests) for source in sources)
    manifests = read_manifests(examined)
    accounts = [SourceAccount(source) for source in examined]
    zone = clock.zone(options.tz) if options.tz else None
    reading_options = ReadingOptions(zone, ahead, progress, manifests.zones())
    reading = Reading(accounts, rules, Tallies(), reading_options, options.prefilter)
    refused = reading.tallies.refused
    for session in smtp_sessions(reading):
        reading.tallies.session(session)
        if refused_replies(session):
            refused.add(session)
    anchors = sorted(refused.anchors() + reading.tallies.message_times()) if any(map(is_event_log, examined)) else []
    checks = list(failures(reading, anchors))
    failed = (getattr(match.event, "thumbprint", "") for match in checks)
    of_sessions = (certificate.thumbprint for certificate in refused.certificates())
    certificates = frozenset({*failed, *of_sessions} - {""}) | options.certificates
    checks += evidence_for(reading, certificates, checks)
    wire = handshakes(reading)
    for account in accounts:
        account.settle()
    if not options.anyway:
        require_readable(accounts)
    return CaseEvidence(reading=reading, refused=refused, checks=tuple(checks), manifests=manifests, wire=wire)
