"""The facts of one certificate check, as signals see them (Sigma service ``chain-operation``)."""

from __future__ import annotations

from functools import cached_property

from msgspec import Struct

from evtx_analyzer.correlate.case_facts import CaseFacts, expired_at, not_yet_valid_at
from evtx_analyzer.correlate.fields import Field, facts
from evtx_analyzer.exchange_online import is_service_name
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.evidence import PASSED, Operation
from evtx_analyzer.model.origin import Fields
from evtx_analyzer.public_roots import is_public_root_thumbprint

_NOT_TIME_VALID = "CERT_TRUST_IS_NOT_TIME_VALID"
_EXPIRED = "800B0101"
_CHAIN_REVOKED, _UNKNOWN = "CERT_TRUST_IS_REVOKED", "CERT_TRUST_REVOCATION_STATUS_UNKNOWN"
# CRYPT_E_REVOKED, CERT_E_REVOKED
_IS_REVOKED = {"80092010", "800B010C"}


class _Check(Struct, frozen=True, dict=True):
    """A check, and its certificate with the dates that any input shows."""

    operation: Operation
    certificate: Certificate | None

    @cached_property
    def leaf_status(self) -> tuple[str, ...]:
        """Return the errors of the leaf."""
        return tuple(self.operation.elements[0].errors) if self.operation.elements else ()

    @cached_property
    def issuer_status(self) -> list[str]:
        """Return the errors of the elements above the leaf."""
        return sorted({error for element in self.operation.elements[1:] for error in element.errors})

    @cached_property
    def expired(self) -> bool | None:
        """Return whether the certificate was expired at the time of the check."""
        return expired_at(self.certificate, self.operation.time)

    @cached_property
    def not_yet_valid(self) -> bool | None:
        """Return whether the certificate was not yet valid at the time of the check."""
        return not_yet_valid_at(self.certificate, self.operation.time)


def _out_of_date(check: _Check) -> str | None:
    """Return whose validity CERT_E_EXPIRED is about, ``leaf`` or ``issuer``; None for other results or if unknown.

    An operation whose policy check is not in the export has no such result; the elements of its chain tell.
    """
    checked = bool(check.operation.policy)
    if checked and check.operation.result != _EXPIRED:
        return None
    if _NOT_TIME_VALID in check.leaf_status:
        return "leaf"
    if _NOT_TIME_VALID in check.issuer_status:
        return "issuer"
    if not checked:
        return None
    if check.expired or check.not_yet_valid:
        return "leaf"
    index = check.operation.element_index
    if index is not None and index >= 0:
        return "issuer" if index else "leaf"
    return "issuer" if check.expired is False else None  # both of its dates are known


def _revoked(check: _Check) -> bool | None:
    """Return whether the certificate, or one above it, is revoked; False only where that was asked, None if unknown.

    The chain decides: of two paths the one over a revoked cross certificate is left, and only its check says "revoked".
    """
    operation = check.operation
    answers = {revocation.result for revocation in operation.revocations}
    if not operation.elements:
        return True if {operation.result, operation.chain_result, *answers} & _IS_REVOKED else None
    if _CHAIN_REVOKED in operation.chain_status or {operation.result, operation.chain_result} & _IS_REVOKED:
        return True
    own = {revocation.result for revocation in operation.revocations if revocation.thumbprint == operation.thumbprint}
    return False if own == {PASSED} and _UNKNOWN not in operation.chain_status else None


def _element_index(check: _Check) -> str | None:
    index = check.operation.element_index
    return None if index is None else str(index)


def _self_signed(check: _Check) -> bool | None:
    elements = check.operation.elements
    return len(elements) == 1 and elements[0].self_signed if elements else None


def _last_self_signed(check: _Check) -> bool | None:
    return check.operation.elements[-1].self_signed if check.operation.elements else None


def _public_root(check: _Check) -> bool | None:
    """Return True if the chain ends in a public root; None if not, for a root that is on no list may be public too."""
    elements = check.operation.elements
    return True if elements and is_public_root_thumbprint(elements[-1].thumbprint) else None


def _service_names(check: _Check) -> list[str]:
    return [name for name in (check.operation.subject, check.operation.server_name) if is_service_name(name)]


FIELDS = (
    Field("Policy", "policy of event 30, by name", lambda check: check.operation.policy),
    Field("Result", "result, hex", lambda check: check.operation.result),
    Field("ResultName", "symbol of the result", lambda check: check.operation.result_name),
    Field("ChainResult", "result of event 11, hex", lambda check: check.operation.chain_result),
    Field("ChainStatus", "ErrorStatus of the chain, by name", lambda check: check.operation.chain_status),
    Field("Thumbprint", "SHA-1 of the certificate", lambda check: check.operation.thumbprint),
    Field("Subject", "subjectName of the certificate", lambda check: check.operation.subject),
    Field("ServerName", "serverName of the SSL policy", lambda check: check.operation.server_name),
    Field("ProcessName", "process that asked", lambda check: check.operation.process),
    Field("RemoteName", "subject or serverName, where it is one of Exchange Online", _service_names),
    Field(
        "MissingIssuer",
        "`root`, `intermediate`, `unknown`: what is missing where the chain stops",
        lambda check: check.operation.missing_issuer_role,
    ),
    Field("BlamedElement", "elementIndex of event 30", _element_index),
    Field(
        "Elements",
        "number of certificates in the chain",
        lambda check: str(len(check.operation.elements)) if check.operation.elements else None,
    ),
    Field("LastElementSelfSigned", "whether the chain ends in a self-signed certificate", _last_self_signed),
    Field("PublicRoot", "`true` where that is a public root on the list of `certifi`", _public_root),
    Field("SelfSigned", "whether the chain is one self-signed certificate", _self_signed),
    Field("LeafStatus", "errors of the leaf, by name", lambda check: check.leaf_status),
    Field("IssuerStatus", "errors of the elements above it, by name", lambda check: check.issuer_status),
    Field("Expired", "whether the certificate was expired at the time of the check", lambda check: check.expired),
    Field("NotYetValid", "whether it was not yet valid then", lambda check: check.not_yet_valid),
    Field(
        "Revoked",
        "whether a certificate of the chain is revoked; `false` only where the revocation of the leaf was checked",
        _revoked,
    ),
    Field(
        "OutOfDate",
        "`leaf`, `issuer`: whose validity is the matter under 800B0101, or in a chain without a policy check",
        _out_of_date,
    ),
)


def operation_facts(operation: Operation, background: CaseFacts) -> Fields:
    """Return the view of one certificate check."""
    known = background.certificates.get(operation.thumbprint) or operation.certificate
    return facts(FIELDS, _Check(operation, known))
