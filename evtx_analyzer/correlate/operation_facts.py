"""The facts of one certificate check, as signals see them (Sigma service ``chain-operation``)."""

from __future__ import annotations

from evtx_analyzer.correlate.case_facts import CaseFacts
from evtx_analyzer.correlate.connector_checks import Facts, texts, yes
from evtx_analyzer.exchange_online import is_service_name
from evtx_analyzer.model.evidence import Operation
from evtx_analyzer.model.origin import Fields

_NOT_TIME_VALID = "CERT_TRUST_IS_NOT_TIME_VALID"


_EXPIRED = "800B0101"


def operation_facts(operation: Operation, background: CaseFacts) -> Fields:
    """The view of one certificate check."""
    known = background.certificates.get(operation.thumbprint) or operation.certificate
    found: Facts = {
        "Policy": [operation.policy],
        "Result": [operation.result],
        "ResultName": [operation.result_name],
        "ChainResult": [operation.chain_result],
        "ChainStatus": list(operation.chain_status),
        "Thumbprint": [operation.thumbprint],
        "Subject": [operation.subject],
        "ServerName": [operation.server_name],
        "ProcessName": [operation.process],
        "RemoteName": [name for name in (operation.subject, operation.server_name) if is_service_name(name)],
        "MissingIssuer": [operation.missing_issuer_role or ""],
        "BlamedElement": ["" if operation.element_index is None else str(operation.element_index)],
    }
    if operation.elements:
        found["Elements"] = [str(len(operation.elements))]
        found["LastElementSelfSigned"] = [yes(operation.elements[-1].self_signed)]
        found["SelfSigned"] = [yes(len(operation.elements) == 1 and operation.elements[0].self_signed)]
        found["LeafStatus"] = list(operation.elements[0].errors)
        found["IssuerStatus"] = sorted({error for element in operation.elements[1:] for error in element.errors})
    if known and known.not_after and known.not_before:
        found["Expired"] = [yes(known.not_after < operation.time)]
        found["NotYetValid"] = [yes(known.not_before > operation.time)]
    if operation.result == _EXPIRED and (out_of_date := _out_of_date(operation, found)):
        found["OutOfDate"] = [out_of_date]
    return texts(found)


def _out_of_date(operation: Operation, found: Facts) -> str:
    """Whose validity a check under CERT_E_EXPIRED found wanting: ``leaf``, ``issuer``, or empty where nothing tells."""
    if _NOT_TIME_VALID in found.get("LeafStatus", ()):
        return "leaf"
    if _NOT_TIME_VALID in found.get("IssuerStatus", ()):
        return "issuer"
    if "true" in (*found.get("Expired", ()), *found.get("NotYetValid", ())):
        return "leaf"
    if operation.element_index is not None and operation.element_index >= 0:
        return "issuer" if operation.element_index else "leaf"
    return "issuer" if "Expired" in found else ""
