"""Judges by later logs, incident by incident, whether a fix worked and which cause that confirms.

An incident is *fixed* where a change that its cause names is followed by mail that Exchange Online took for recipients
outside of the tenant, and no refusal of the same machine and connector follows that mail. It is *still refused* where
refusals follow and no such change does. Everything else is *not shown*: absence of refusals alone shows nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer import clock
from evtx_analyzer.diagnose.grade import RANK, UNEXPLAINED
from evtx_analyzer.model.evidence import Delivery, Incident, Operation
from evtx_analyzer.model.findings import Evidence, Finding, IncidentRepair, Missing, Repair, RepairResult, SourceStatus
from evtx_analyzer.model.origin import Loss, display_name
from evtx_analyzer.normalize import capi2
from evtx_analyzer.repair.changes import Change, changes
from evtx_analyzer.repair.later import (
    Later,
    LaterRefusals,
    accepted_after,
    mail_of_other_addresses,
    refusals_after,
    twice_shown,
    undated_refusal,
    unnamed_mail,
)
from evtx_analyzer.repair.refused_state import RefusedState, refused_state
from evtx_analyzer.rules.definitions import Cause
from evtx_analyzer.smtp.acceptances import Span

_EVENT_LOGS = (capi2.KIND, "event-log")
_WORST: tuple[RepairResult, ...] = ("still-refused", "not-shown", "fixed")


class RepairCase(Struct, frozen=True, kw_only=True):
    """What is judged: incidents and findings of a report, its certificate checks by id, and the causes of the rules.

    ``deliveries`` is the delivery history where that is all that is left of the time of the refusals (a saved report).
    """

    incidents: Sequence[Incident]
    findings: Sequence[Finding]
    operations: Mapping[str, Operation]
    causes: Sequence[Cause]
    deliveries: Sequence[Delivery] = ()

    def rule(self, cause: str) -> Cause | None:
        """Return the rule of a cause; None if the rules no longer have it, as a saved report may name any."""
        return next((rule for rule in self.causes if rule.id == cause), None)


class _Judged(Struct, frozen=True, kw_only=True):
    """One incident as judged: ``change`` repaired it, ``seen`` are all changes, ``refused`` the later refusals."""

    incident: Incident
    repair: IncidentRepair
    change: Change | None
    seen: tuple[Change, ...]
    refused: LaterRefusals | None


class Judgment(Struct, frozen=True, kw_only=True):
    """What later logs show of all incidents, and the findings and incidents with the grades that follow from it."""

    repair: Repair | None
    findings: list[Finding]
    incidents: list[Incident]

    @property
    def fixed(self) -> bool:
        """Return whether a fix is shown to have worked for any incident."""
        return self.repair is not None and any(incident.result == "fixed" for incident in self.repair.incidents)


def repair_of(case: RepairCase, later: Later, *, lossy: bool) -> Judgment:
    """Judge every incident by what later logs show.

    ``lossy`` says that parts of the later SMTP logs could not be read: a refusal could stand in them, so nothing is
    fixed. The repair is None where there is no incident.
    """
    judged = [_judge(incident, case, later, lossy=lossy) for incident in case.incidents]
    if not judged:
        return Judgment(repair=None, findings=list(case.findings), incidents=[])
    result = next(name for name in _WORST if any(judgment.repair.result == name for judgment in judged))
    repair = Repair(result=result, incidents=tuple(judgment.repair for judgment in judged))
    proofs = [judgment for judgment in judged if _proves(judgment, case, later)]
    findings = [_confirmed(finding, proofs) for finding in case.findings]
    # The sort is stable: findings keep their order but for those that are confirmed now.
    findings.sort(key=lambda finding: finding.grade != "confirmed")
    proven = {proof.incident.id: proof.repair.cause for proof in proofs}
    incidents = list(case.incidents)
    for place, incident in enumerate(incidents):
        if incident.id in proven:
            incidents[place] = replace(incident, grades={**incident.grades, proven[incident.id]: "confirmed"})
    return Judgment(repair=repair, findings=findings, incidents=incidents)


def lost_in_smtp_logs(losses: Iterable[Loss], sources: Iterable[SourceStatus]) -> bool:
    """Return whether anything was lost that may have been a row of an SMTP log."""
    event_logs = {source.path for source in sources if source.kind in _EVENT_LOGS}
    return any(display_name(loss.origin) not in event_logs for loss in losses)


def _judge(incident: Incident, case: RepairCase, later: Later, *, lossy: bool) -> _Judged:
    # Without the history of a saved report, ``later`` holds the refusals themselves.
    refused_from = {} if case.deliveries else later.facts.refused_from
    state = refused_state(incident, case.operations, case.deliveries, refused_from)
    cause = case.rule(_cause_of(incident, case.findings))
    seen = changes(state, later) if state.timed else []
    named = [change for change in seen if cause and change.name in (*cause.repair_confirms, *cause.repair_fits)]
    refused = refusals_after(state, later, state.end) if state.timed else None
    working = next((change for change in named if _worked(change, refused.last if refused else None)), None)
    # By the earlier reading of an hour that the clock showed twice, the refusals may have ended before.
    ended = refused is not None and any(_worked(change, refused.surely_until) for change in named)
    accepted = accepted_after(state, later, state.end) if state.timed else None
    timed = state.timed and not undated_refusal(state, later)
    # The earlier report says how to see that the remedy of this cause worked.
    remedies = (finding.remedy for finding in case.findings if cause and finding.cause == cause.id)
    verify = next((remedy.verify for remedy in remedies if remedy), ())
    result: RepairResult = "not-shown"
    if working is not None and timed and not lossy:
        result = "fixed"
    elif refused is not None and working is None and not ended:
        result = "still-refused"
    repair = IncidentRepair(
        incident=incident.id,
        cause=cause.id if cause else UNEXPLAINED,
        result=result,
        changed=tuple(Evidence(text=change.text, origin=change.origin, time=change.time) for change in named),
        accepted=_accepted(state, working.accepted if working else accepted),
        refused=_refused(state, refused),
        missing=(_missing(state, later, named, accepted, verify, timed=timed, lossy=lossy, ended=ended),)
        if result == "not-shown"
        else (),
    )
    return _Judged(
        incident=incident,
        repair=repair,
        change=working if result == "fixed" else None,
        seen=tuple(seen),
        refused=refused,
    )


def _worked(change: Change, refused: datetime | None) -> bool:
    """Return whether mail was accepted since a change, and none was refused (the last time) after that mail."""
    return change.accepted is not None and (refused is None or refused <= change.accepted.first)


def _cause_of(incident: Incident, findings: Iterable[Finding]) -> str:
    """Return the best supported cause of an incident; findings are in the order of their support."""
    rank = {finding.cause: RANK[incident.grades.get(finding.cause, "no-evidence")] for finding in findings}
    best = (cause for cause in rank if rank[cause] >= RANK["possible"])
    return max(best, key=rank.__getitem__, default=UNEXPLAINED)


def _accepted(state: RefusedState, mail: Span | None) -> tuple[Evidence, ...]:
    if mail is None:
        return ()
    messages = "1 message" if mail.count == 1 else f"{mail.count} messages"
    text = (
        f"Exchange Online accepted {messages} to outside recipients from {_sender(state)}, the last one at "
        f"{clock.as_text(mail.last)}."
    )
    return (Evidence(text=text, origin=None, time=mail.first),)


def _refused(state: RefusedState, refused: LaterRefusals | None) -> tuple[Evidence, ...]:
    if refused is None:
        return ()
    first = refused.first
    more = "1 more refusal" if refused.count == 1 else f"{refused.count} more refusals"
    text = f"{more} with 5.7.64 from {_sender(state)}, the last one at {clock.as_text(refused.last)}."
    return (Evidence(text=text, origin=first.origin, time=first.time, time_basis=first.time_basis),)


def _sender(state: RefusedState) -> str:
    host = state.host or "a host that no log names"
    return f"{host}, {state.connector}" if state.connector else host


def _missing(
    state: RefusedState,
    later: Later,
    named: Sequence[Change],
    accepted: Span | None,
    verify: Sequence[str],
    *,
    timed: bool,
    lossy: bool,
    ended: bool,
) -> Missing:
    sender, end = _sender(state), clock.as_text(state.end)
    collect: tuple[str, ...] = ()
    if state.timed and (ended or not timed) and twice_shown(state, later):
        text = (
            f"Refusals of {sender} fall into the hour that the clock showed twice, so whether they are before the "
            "accepted mail or after it is not known. Collect logs with UTC times: the Send connector log, or IIS W3C."
        )
    elif not timed:
        text = f"The refusals of {sender} have no UTC time, so nothing can be shown to be later. Analyze with --tz."
    elif lossy:
        text = "Parts of the later logs could not be read, and a refusal could stand in them. Collect them again."
    elif accepted is None and unnamed_mail(state, later):
        text = (
            f"The later SMTP logs name no machine, and a Send connector is shared by servers. If {state.host} wrote "
            f"them, verify again with --host {state.host}."
        )
    elif accepted is None and (addresses := mail_of_other_addresses(state, later)):
        text = (
            f"Mail of {sender} was accepted after {end} from other local addresses than the refused mail "
            f"({', '.join(addresses)}): it may be another server's. Keep the logs of each server in a "
            "folder with its name."
        )
    elif accepted is None:
        text = (
            f"No log shows mail of {sender} to outside recipients that was accepted after {end}. Send a message to a "
            "mailbox outside of the tenant, and collect the SMTP log of this time: mail to the own tenant is always "
            "accepted and shows nothing."
        )
    elif not named:
        text = (
            f"Mail of {sender} to outside recipients was accepted after {end}, and no log shows what was changed. "
            "Collect what shows the state that the cause names."
        )
        collect = tuple(verify)
    else:
        text = (
            f"A change is shown, and mail of {sender} was accepted before it or in another state: the logs do not show "
            "that the change did it."
        )
        collect = tuple(verify)
    return Missing(text=text, collect=collect)


def _confirmed(finding: Finding, proofs: Iterable[_Judged]) -> Finding:
    """Return a finding as ``confirmed`` where a fix of exactly what it names worked, with that as its evidence."""
    own = [proof.repair for proof in proofs if proof.repair.cause == finding.cause]
    if not own:
        return finding
    evidence = dict.fromkeys(part for repair in own for part in (*repair.changed, *repair.accepted))
    return replace(finding, grade="confirmed", supports=(*finding.supports, *evidence))


def _proves(judged: _Judged, case: RepairCase, later: Later) -> bool:
    """Return whether the change that repaired an incident is exactly what its cause names, and fits no other cause."""
    change, cause, grades = judged.change, judged.repair.cause, judged.incident.grades
    rule = case.rule(cause)
    if change is None or rule is None or change.name not in rule.repair_confirms or not change.alone:
        return False
    if not judged.incident.host:
        # Logs that name no machine may be of two machines: one that was refused, and one that always worked.
        return False
    if change.time is not None and change.accepted is not None:
        # A connector that was changed as well may have been the repair.
        start, until = judged.incident.start, change.accepted.first
        last = judged.incident.rejections[-1]
        # The times of the tenant's objects are by Exchange Online's clock.
        clocks = {timedelta(), later.facts.ahead_in(last.kind, last.origin)}
        if any(start < time + ahead <= until for time in later.facts.change_times for ahead in clocks):
            return False
    if change.time is None and RANK[grades[cause]] < RANK["probable"]:
        # An export shows the state now; that it was another one before is the cause's own claim.
        return False
    if change.time is not None and judged.refused is not None and judged.refused.last > change.time:
        # The state had changed and mail was refused all the same: something else may have ended it.
        return False
    names = {seen.name for seen in judged.seen}
    rivals = [rival for rival in case.causes if rival.id != cause]
    # A change that would have repaired another possible cause as well does not tell the two apart.
    possible = (rival for rival in rivals if RANK[grades.get(rival.id, "no-evidence")] >= RANK["possible"])
    if any(names & {*rival.repair_confirms, *rival.repair_fits} for rival in possible):
        return False
    # Nor does it where the logs do not show which of them it was: event 30 alone says the same of a missing issuer and
    # of a root that is not trusted.
    seen_too = (rival for rival in rivals if grades.get(rival.id) == "coincident")
    return not any(change.name in rival.repair_confirms for rival in seen_too)
