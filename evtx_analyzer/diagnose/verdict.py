"""The verdict: the best supported cause in a sentence; without a refusal, what its absence shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from evtx_analyzer import clock
from evtx_analyzer.clock import Moment
from evtx_analyzer.diagnose.grade import RANK, UNEXPLAINED
from evtx_analyzer.diagnose.scene import Case
from evtx_analyzer.model.evidence import Incident
from evtx_analyzer.model.findings import Finding, Repair, Verdict
from evtx_analyzer.model.handshake import Handshake
from evtx_analyzer.normalize.kinds import REFUSAL_KINDS


def verdict(
    findings: Sequence[Finding],
    incidents: Sequence[Incident],
    case: Case,
    losses: int,
    left_out: int = 0,
    repair: Repair | None = None,
) -> Verdict:
    """Return the verdict on a case; ``losses`` is how many parts of the input could not be read.

    ``left_out`` is how many refusals lie outside of ``--since`` and ``--until``, ``repair`` what later logs show.
    """
    if not incidents and left_out:
        title = "No 5.7.64 refusal was found in the time asked for"
        text = f"{left_out} refusals with 5.7.64 lie outside of it: take the limits of time away to see them."
        return Verdict(cause=None, grade=None, title=title, summary=text)
    if not incidents:
        return Verdict(cause=None, grade=None, title="No 5.7.64 refusal was found", summary=_absence(case, losses))
    best = findings[0]
    also = [finding for finding in findings[1:] if RANK[finding.grade] >= RANK["possible"]]
    count = sum(incident.rejection_count for incident in incidents)
    hosts = ", ".join(sorted({incident.host or "a host that no log names" for incident in incidents}))
    texts = [f"{count} refusal{'s' if count > 1 else ''} with 5.7.64 on {hosts}, {_span(incidents)}."]
    covered = sum(incident.rejection_count for incident in incidents if incident.id in best.incidents)
    if best.cause != UNEXPLAINED and covered < count:
        # The claim and the fix are of these refusals only.
        texts.append(f"This verdict covers {covered} of the {count} refusals.")
    texts.append(_claim(best, repair))
    if also:
        texts.append("Also " + "; ".join(_by_grade(also)) + ".")
    return Verdict(cause=best.cause, grade=best.grade, title=best.title, summary=" ".join(texts))


def _by_grade(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield each grade with its causes (``possible: A, B``), in the order of the findings."""
    for grade, group in groupby(findings, key=lambda finding: finding.grade):
        yield f"{grade}: {', '.join(finding.cause for finding in group)}"


def _span(incidents: Sequence[Incident]) -> str:
    """Return the time from the first refusal to the last; refusals without a UTC time are only counted."""
    starts = (Moment(incident.start, incident.start_basis) for incident in incidents)
    ends = (Moment(incident.end, incident.end_basis) for incident in incidents)
    first, last = clock.limits([*starts, *ends])
    return clock.span_text(first, last, sum(incident.unknown_zone_count for incident in incidents))


def _absence(case: Case, losses: int) -> str:
    if not case.kinds & set(REFUSAL_KINDS) and case.handshakes:
        return _wire_text(case.handshakes)
    if not case.kinds & set(REFUSAL_KINDS):
        return (
            "No SMTP log was among what was read, so a refusal could not have been found. "
            "Add the Send connector protocol log or the IIS SMTP log."
        )
    if losses:
        return f"Absence is not shown: {losses} part{'s' if losses > 1 else ''} of the input could not be read."
    return (
        "Everything was read. A Send connector whose ProtocolLoggingLevel is None writes no sessions: check that it is "
        "Verbose."
    )


def _wire_text(handshakes: Sequence[Handshake]) -> str:
    """Return what a trace without an SMTP log shows: what the clients sent, and that no refusal can be seen in it."""
    states = Counter(handshake.sent_chain.state for handshake in handshakes)
    others = len(handshakes) - sum(states[state] for state in ("alone", "complete", "empty", "not-seen"))
    return (
        f"TLS handshakes of SMTP in the network trace: {len(handshakes)} (the client sent its certificate alone in "
        f"{states['alone']}, a chain up to a public root in {states['complete']}, no certificate in "
        f"{states['empty']}, something else in {others}; in {states['not-seen']} it cannot be seen). A refusal lies "
        "inside of TLS, so add the log that shows it: the Send connector protocol log or the IIS SMTP log."
    )


def _claim(best: Finding, repair: Repair | None) -> str:
    if best.cause == UNEXPLAINED:
        return "No cause is supported well enough to be named; what to collect next is listed."
    if best.grade == "confirmed":
        fixed = {incident.cause for incident in repair.incidents if incident.result == "fixed"} if repair else set()
        shown = (
            "by a fix of it that worked" if best.cause in fixed else "by the network trace of the refused connection"
        )
        return f"This cause is shown {shown}."
    if repair is not None and repair.result == "fixed":
        known = "the best supported explanation" if best.grade == "probable" else "a possible explanation"
        return f"This cause is {known}. Mail is accepted again, and what changed fits the cause without proving it."
    if best.grade == "probable":
        return "This cause is the best supported explanation; it is not proven until the fix has worked."
    return "The evidence is consistent with this cause and does not show it: verify before you act."
