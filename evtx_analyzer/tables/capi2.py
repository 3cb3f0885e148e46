"""The columns of CAPI2 events and of operations; results are upper-case hex without prefix beside their symbol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from evtx_analyzer.capi2.summaries import summary
from evtx_analyzer.columns import Cell, Column, origin_columns
from evtx_analyzer.model.certificate import ChainElement
from evtx_analyzer.model.events import Capi2Event
from evtx_analyzer.wincrypt import TRUST_ERRORS, as_hex, flag_names, result_name


def _joined(values: Iterable[str]) -> str:
    return " ".join(values)


def _chain(elements: Sequence[ChainElement]) -> str:
    return " > ".join(
        f"{element.subject} [{element.thumbprint}]{''.join(f' {name}' for name in element.errors)}"
        for element in elements
    )


def _of_retrieval(name: str) -> Callable[[Capi2Event], Cell]:
    """Return what takes a field of the retrieval or the revocation, whichever the event has."""
    return lambda event: str(getattr(event.retrieval or event.revocation, name, "") or "")


def _tried(event: Capi2Event) -> str:
    attempts = event.retrieval.attempts if event.retrieval else ()
    return "; ".join(f"{attempt.name} {attempt.error} {attempt.error_name}" for attempt in attempts if attempt.error)


EVENT_COLUMNS = (
    Column("time", "time", "TimeCreated, UTC", lambda item: item.time),
    Column("Computer", "text", "Computer as written", lambda item: item.host, ("host",)),
    Column("EventRecordID", "number", "EventRecordID", lambda item: item.origin.record, ("record",)),
    Column("EventID", "number", "EventID", lambda item: item.event_id, ("event_id",)),
    Column("event", "text", "root element of UserData", lambda item: item.name),
    Column("level", "number", "Level (2 error, 4 information); not the result", lambda item: item.level),
    Column("ProcessName", "text", "ProcessName", lambda item: item.process, ("process",)),
    Column("ProcessID", "number", "ProcessID", lambda item: item.process_id, ("process_id",)),
    Column("ThreadID", "number", "ThreadID", lambda item: item.thread_id, ("thread_id",)),
    Column("impersonateToken", "text", "SID of the impersonated user", lambda item: item.user, ("user",)),
    Column("result", "text", "Result/@value, hex; empty where the event has none", lambda item: as_hex(item.result)),
    Column("result_name", "text", "symbol of the result", lambda item: result_name(item.result)),
    Column("subjectName", "text", "subjectName (a display name)", lambda item: item.subject, ("subject",)),
    Column("thumbprint", "text", "SHA-1 of the certificate", lambda item: item.thumbprint),
    Column("policy", "text", "policy of event 30", lambda item: item.policy_name),
    Column("serverName", "text", "serverName of an SSL policy", lambda item: item.server_name, ("server_name",)),
    Column("authType", "text", "authType of an SSL policy", lambda item: item.auth_type, ("auth_type",)),
    Column("ignore_flags", "text", "checks an SSL policy leaves out", lambda item: _joined(item.ignore_flags)),
    Column("flags", "text", "Flags, decoded from the value", lambda item: _joined(item.flags)),
    Column("chainIndex", "number", "Status/@chainIndex of event 30", lambda item: item.status[0], ("chain_index",)),
    Column(
        "elementIndex", "number", "Status/@elementIndex of event 30", lambda item: item.status[1], ("element_index",)
    ),
    Column("chain_error", "text", "ErrorStatus of the chain of event 11, hex", lambda item: as_hex(item.chain_error)),
    Column(
        "chain_errors",
        "text",
        "ErrorStatus by name",
        lambda item: _joined(flag_names(item.chain_error or 0, TRUST_ERRORS)),
    ),
    Column("chain", "text", "elements, leaf first, with their errors", lambda item: _chain(item.chain)),
    Column("engine", "text", "chain engine: user or machine", lambda item: item.engine),
    Column("usages", "text", "OIDs asked for", lambda item: _joined(item.usages)),
    Column(
        "issuer_thumbprint",
        "text",
        "issuer in events 41 and 42",
        lambda item: item.revocation.issuer_thumbprint if item.revocation else "",
    ),
    Column(
        "location", "text", "where a list came from", lambda item: item.revocation.location if item.revocation else ""
    ),
    Column(
        "rejected", "text", "check a list failed (42)", lambda item: item.revocation.rejected if item.revocation else ""
    ),
    Column("url", "text", "URL of events 41, 42, 51 and 53", _of_retrieval("url")),
    Column(
        "answer",
        "text",
        "first line of the response (53)",
        lambda item: item.retrieval.answer if item.retrieval else "",
    ),
    Column("attempts", "text", "failed attempts on the way (53)", _tried),
    Column("target", "text", "file of events 81 and 82", lambda item: item.target),
    Column(
        "certificates",
        "text",
        "thumbprints in event 90",
        lambda item: _joined(part.thumbprint for part in item.certificates),
    ),
    Column("TaskId", "text", "TaskId", lambda item: item.task_id, ("task_id",)),
    Column("SeqNumber", "number", "SeqNumber", lambda item: item.sequence, ("sequence",)),
    Column("chainRef", "text", "chainRef", lambda item: item.chain_ref, ("chain_ref",)),
    Column("channel", "text", "Channel as written", lambda item: item.channel),
    Column("notes", "text", "where the event contradicts itself, or is not known", lambda item: "; ".join(item.notes)),
    Column("summary", "text", "the event in words", summary),
    *origin_columns(lambda item: item.origin),
)

OPERATION_COLUMNS = (
    Column("time", "time", "time of its main event, UTC", lambda item: item.time),
    Column("end", "time", "time of its last event, UTC", lambda item: item.end),
    Column("host", "text", "machine", lambda item: item.host),
    Column("id", "text", "id of the operation", lambda item: item.id),
    Column("parent", "text", "id of the signature check it was done for", lambda item: item.parent or ""),
    Column("kind", "text", "chain, trust, catalog, revocation, retrieval ...", lambda item: item.kind),
    Column("process", "text", "ProcessName", lambda item: item.process),
    Column("process_id", "number", "ProcessID", lambda item: item.process_id),
    Column("subject", "text", "subjectName of the certificate", lambda item: item.subject),
    Column("thumbprint", "text", "SHA-1 of the certificate", lambda item: item.thumbprint),
    Column("issuer", "text", "issuer, from event 90", lambda item: item.certificate.issuer if item.certificate else ""),
    Column(
        "not_before", "time", "from event 90", lambda item: item.certificate.not_before if item.certificate else None
    ),
    Column("not_after", "time", "from event 90", lambda item: item.certificate.not_after if item.certificate else None),
    Column("policy", "text", "policy of event 30", lambda item: item.policy),
    Column("server_name", "text", "serverName", lambda item: item.server_name),
    Column("result", "text", "result, hex", lambda item: item.result),
    Column("result_name", "text", "symbol of the result", lambda item: item.result_name),
    Column("chain_result", "text", "result of event 11, hex", lambda item: item.chain_result),
    Column("chain_errors", "text", "ErrorStatus of the chain", lambda item: _joined(item.chain_status)),
    Column("chain", "text", "elements, leaf first, with their errors", lambda item: _chain(item.elements)),
    Column(
        "missing_issuer",
        "text",
        "issuer not found",
        lambda item: item.missing_issuer.subject if item.missing_issuer else "",
    ),
    Column(
        "revocation",
        "text",
        "revocation results",
        lambda item: "; ".join(f"{part.subject} {part.result or part.rejected}" for part in item.revocations),
    ),
    Column(
        "retrieval",
        "text",
        "URLs and results",
        lambda item: "; ".join(f"{part.where} {part.url} {part.result}" for part in item.retrievals),
    ),
    Column("target", "text", "file of a signature check", lambda item: item.target),
    Column("chain_ref", "text", "chainRef", lambda item: item.chain_ref),
    Column("task_id", "text", "TaskId of its main event", lambda item: item.task_id),
    Column("events", "number", "number of its events", lambda item: item.event_count or len(item.steps)),
    Column(
        "complete",
        "text",
        "yes, or no where a part is not in the export",
        lambda item: "yes" if item.complete else "no",
    ),
    Column("notes", "text", "what is missing and why; contradictions", lambda item: "; ".join(item.notes)),
    Column("record", "number", "EventRecordID of its main event", lambda item: item.origin.record),
    *origin_columns(lambda item: item.origin),
)
