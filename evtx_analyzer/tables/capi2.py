"""The columns of CAPI2 events and of operations. Results are upper-case hex without prefix, next to their symbol."""

from __future__ import annotations

from collections.abc import Sequence

from evtx_analyzer.capi2.summaries import summary
from evtx_analyzer.columns import Column, joined, of_part, origin_columns
from evtx_analyzer.model.certificate import ChainElement
from evtx_analyzer.model.events import Capi2Event
from evtx_analyzer.wincrypt import TRUST_ERRORS, as_hex, flag_names, result_name


def _chain(elements: Sequence[ChainElement]) -> str:
    return " > ".join(
        f"{element.subject} [{element.thumbprint}]{''.join(f' {name}' for name in element.errors)}"
        for element in elements
    )


def _url(event: Capi2Event) -> str:
    return str(getattr(event.retrieval or event.revocation, "url", ""))


def _tried(event: Capi2Event) -> str:
    attempts = event.retrieval.attempts if event.retrieval else ()
    return "; ".join(f"{attempt.name} {attempt.error} {attempt.error_name}" for attempt in attempts if attempt.error)


def _thumbprints(event: Capi2Event) -> str:
    return " ".join(certificate.thumbprint for certificate in event.certificates)


EVENT_COLUMNS = (
    Column("time", "time", "TimeCreated, UTC", lambda event: event.time),
    Column("Computer", "text", "Computer as written", lambda event: event.host, ("host",)),
    Column("EventRecordID", "number", "EventRecordID", lambda event: event.origin.record, ("record",)),
    Column("EventID", "number", "EventID", lambda event: event.event_id, ("event_id",)),
    Column("event", "text", "root element of UserData", lambda event: event.name),
    Column("level", "number", "Level (2 error, 4 information); not the result", lambda event: event.level),
    Column("ProcessName", "text", "ProcessName", lambda event: event.process, ("process",)),
    Column("ProcessID", "number", "ProcessID", lambda event: event.process_id, ("process_id",)),
    Column("ThreadID", "number", "ThreadID", lambda event: event.thread_id, ("thread_id",)),
    Column("impersonateToken", "text", "SID of the impersonated user", lambda event: event.user, ("user",)),
    Column("result", "text", "Result/@value, hex; empty where the event has none", lambda event: as_hex(event.result)),
    Column("result_name", "text", "symbol of the result", lambda event: result_name(event.result)),
    Column("subjectName", "text", "subjectName (a display name)", lambda event: event.subject, ("subject",)),
    Column("thumbprint", "text", "SHA-1 of the certificate", lambda event: event.thumbprint),
    Column("policy", "text", "policy of event 30", lambda event: event.policy_name),
    Column("serverName", "text", "serverName of an SSL policy", lambda event: event.server_name, ("server_name",)),
    Column("authType", "text", "authType of an SSL policy", lambda event: event.auth_type, ("auth_type",)),
    Column("ignore_flags", "text", "checks an SSL policy leaves out", joined("ignore_flags")),
    Column("flags", "text", "Flags, decoded from the value", joined("flags")),
    Column("chainIndex", "number", "Status/@chainIndex of event 30", lambda event: event.status[0], ("chain_index",)),
    Column(
        "elementIndex", "number", "Status/@elementIndex of event 30", lambda event: event.status[1], ("element_index",)
    ),
    Column("chain_error", "text", "ErrorStatus of the chain of event 11, hex", lambda event: as_hex(event.chain_error)),
    Column(
        "chain_errors",
        "text",
        "ErrorStatus by name",
        lambda event: " ".join(flag_names(event.chain_error or 0, TRUST_ERRORS)),
    ),
    Column("chain", "text", "elements, leaf first, with their errors", lambda event: _chain(event.chain)),
    Column("engine", "text", "chain engine: user or machine", lambda event: event.engine),
    Column("usages", "text", "OIDs asked for", joined("usages")),
    Column("issuer_thumbprint", "text", "issuer in events 41 and 42", of_part("revocation", "issuer_thumbprint")),
    Column("location", "text", "where a list came from", of_part("revocation", "location")),
    Column("rejected", "text", "check a list failed (42)", of_part("revocation", "rejected")),
    Column("url", "text", "URL of events 41, 42, 51 and 53", _url),
    Column("answer", "text", "first line of the response (53)", of_part("retrieval", "answer")),
    Column("attempts", "text", "failed attempts on the way (53)", _tried),
    Column("target", "text", "file of events 81 and 82", lambda event: event.target),
    Column("certificates", "text", "thumbprints in event 90", _thumbprints),
    Column("TaskId", "text", "TaskId", lambda event: event.task_id, ("task_id",)),
    Column("SeqNumber", "number", "SeqNumber", lambda event: event.sequence, ("sequence",)),
    Column("chainRef", "text", "chainRef", lambda event: event.chain_ref, ("chain_ref",)),
    Column("channel", "text", "Channel as written", lambda event: event.channel),
    Column("notes", "text", "where the event contradicts itself, or is not known", joined("notes", "; ")),
    Column("summary", "text", "the event in words", summary),
    *origin_columns(lambda event: event.origin),
)

OPERATION_COLUMNS = (
    Column("time", "time", "time of its main event, UTC", lambda operation: operation.time),
    Column("end", "time", "time of its last event, UTC", lambda operation: operation.end),
    Column("host", "text", "machine", lambda operation: operation.host),
    Column("id", "text", "id of the operation", lambda operation: operation.id),
    Column("parent", "text", "id of the signature check it was done for", lambda operation: operation.parent or ""),
    Column("kind", "text", "chain, trust, catalog, revocation, retrieval ...", lambda operation: operation.kind),
    Column("process", "text", "ProcessName", lambda operation: operation.process),
    Column("process_id", "number", "ProcessID", lambda operation: operation.process_id),
    Column("subject", "text", "subjectName of the certificate", lambda operation: operation.subject),
    Column("thumbprint", "text", "SHA-1 of the certificate", lambda operation: operation.thumbprint),
    Column("issuer", "text", "issuer, from event 90", of_part("certificate", "issuer")),
    Column("not_before", "time", "from event 90", of_part("certificate", "not_before", None)),
    Column("not_after", "time", "from event 90", of_part("certificate", "not_after", None)),
    Column("policy", "text", "policy of event 30", lambda operation: operation.policy),
    Column("server_name", "text", "serverName", lambda operation: operation.server_name),
    Column("result", "text", "result, hex", lambda operation: operation.result),
    Column("result_name", "text", "symbol of the result", lambda operation: operation.result_name),
    Column("chain_result", "text", "result of event 11, hex", lambda operation: operation.chain_result),
    Column("chain_errors", "text", "ErrorStatus of the chain", joined("chain_status")),
    Column("chain", "text", "elements, leaf first, with their errors", lambda operation: _chain(operation.elements)),
    Column("missing_issuer", "text", "issuer not found", of_part("missing_issuer", "subject")),
    Column(
        "revocation",
        "text",
        "revocation results",
        lambda operation: "; ".join(
            f"{check.subject} {check.result or check.rejected}" for check in operation.revocations
        ),
    ),
    Column(
        "retrieval",
        "text",
        "URLs and results",
        lambda operation: "; ".join(
            f"{retrieval.where} {retrieval.url} {retrieval.result}" for retrieval in operation.retrievals
        ),
    ),
    Column("target", "text", "file of a signature check", lambda operation: operation.target),
    Column("chain_ref", "text", "chainRef", lambda operation: operation.chain_ref),
    Column("task_id", "text", "TaskId of its main event", lambda operation: operation.task_id),
    Column("events", "number", "number of its events", lambda operation: operation.event_count or len(operation.steps)),
    Column(
        "complete",
        "text",
        "yes, or no where a part is not in the export",
        lambda operation: "yes" if operation.complete else "no",
    ),
    Column("notes", "text", "what is missing and why; contradictions", joined("notes", "; ")),
    Column("record", "number", "EventRecordID of its main event", lambda operation: operation.origin.record),
    *origin_columns(lambda operation: operation.origin),
)
