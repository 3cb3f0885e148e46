"""Find out whether the missing issuer of an incomplete chain is a root or an intermediate.

A root must be trusted, an intermediate installed, but ``CERT_TRUST_IS_PARTIAL_CHAIN`` says the same of both. Three
things tell them apart, in this order: another chain in the same logs that goes on where this one stops, the list of
public roots, and the names of roots and intermediates in other chains.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec.structs import replace

from evtx_analyzer.distinguished_names import common_name, same_name
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.evidence import Operation
from evtx_analyzer.public_roots import is_public_root

Role = Literal["root", "intermediate", "unknown"]
_PARTIAL = "CERT_TRUST_IS_PARTIAL_CHAIN"


def with_roles(operations: Sequence[Operation]) -> list[Operation]:
    """Return the operations with ``missing_issuer_role`` where the chain stops before a root."""
    if not any(_stops(operation) for operation in operations):
        return list(operations)
    known = _Known(operations)
    return [replace(check, missing_issuer_role=known.role(check)) if _stops(check) else check for check in operations]


def _stops(operation: Operation) -> bool:
    return _PARTIAL in operation.chain_status and bool(operation.elements)


class _Known:
    """What the chains of the same logs show of issuers.

    ``_next`` is by thumbprint of an element: whether the one above it is self-signed. ``_roots`` is by name of an
    issuer: whether it is self-signed.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._next: dict[str, bool] = {}
        self._roots: dict[str, bool] = {}
        self._certificates: dict[str, Certificate] = {}
        for operation in operations:
            if operation.certificate is not None:
                self._certificates[operation.certificate.thumbprint] = operation.certificate
            for lower, upper in zip(operation.elements, operation.elements[1:], strict=False):
                self._next[lower.thumbprint] = upper.self_signed
            for element in operation.elements[1:]:
                name = element.subject.casefold()
                # A root that is also cross-signed under the same name counts as a root: either completes the chain.
                self._roots[name] = self._roots.get(name, False) or element.self_signed

    def role(self, operation: Operation) -> Role:
        """Return what the missing issuer of the last element is."""
        last = operation.elements[-1]
        if last.thumbprint in self._next:
            return "root" if self._next[last.thumbprint] else "intermediate"
        missing = operation.missing_issuer
        if missing is None or not missing.subject:
            return "unknown"
        if is_public_root(missing.subject, missing.subject_key_id):
            return "root"
        shown = self._roots.get(common_name(missing.subject).casefold())
        if shown is not None:
            return "root" if shown else "intermediate"
        return "intermediate" if self._is_signed_by_other(missing) else "unknown"

    def _is_signed_by_other(self, missing: Certificate) -> bool:
        """Return whether a certificate with this subject is known that another issuer signed."""
        same = [shown for shown in self._certificates.values() if same_name(shown.subject, missing.subject)]
        return any(shown.issuer and not same_name(shown.subject, shown.issuer) for shown in same)
