"""Word operations as a story to read from top to bottom: who asked, what was done inside, and the result.

    2016-12-01 03:09:55.456 UTC  CORP-SMTP1  lsass.exe (process 544)
      *.ServerName.com [EC53EBC94A796C42E5B4E5851F961874F013D94C]
      CERT_CHAIN_POLICY_SSL: 800B0109 CERT_E_UNTRUSTEDROOT
      told not to look at: SECURITY_FLAG_IGNORE_REVOCATION, SECURITY_FLAG_IGNORE_WRONG_USAGE
      chain: 800B010A CERT_E_CHAINING, CERT_TRUST_IS_PARTIAL_CHAIN
        1  *.ServerName.com [EC53...]  no error
           CN=*.ServerName.com, ..., issued by CN=Example Trust TLS CA 2016, ..., 2016-01-12 to 2018-01-12
           no issuer was found for it: CN=Example Trust TLS CA 2016, ...
      events
        03:09:55.394  10  record 3153  begins to build a chain

Chains that were built for a signature check stand below it. Control characters of logs are replaced (``clean``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from evtx_analyzer import clock
from evtx_analyzer.clock import Moment
from evtx_analyzer.model.certificate import Certificate, ChainElement
from evtx_analyzer.model.evidence import Operation
from evtx_analyzer.model.findings import Coverage
from evtx_analyzer.plain_text import clean
from evtx_analyzer.wincrypt import from_hex, result_name

_TITLES = {
    "chain": "Certificate check",
    "trust": "Signature check (WinVerifyTrust)",
    "catalog": "Catalog look-up",
    "revocation": "Revocation check",
    "retrieval": "Retrieval",
    "private-key": "Private key",
    "certificates": "Certificates",
    "other": "Event without a known schema",
}


def story(operations: Iterable[Operation], coverage: Iterable[Coverage] = ()) -> Iterator[str]:
    """Yield lines of text without line ends: each operation and an empty line, and at the end the coverage."""
    return map(clean, _story_lines(list(operations), coverage))


def _story_lines(every: Sequence[Operation], coverage: Iterable[Coverage]) -> Iterator[str]:
    ids = {operation.id for operation in every}
    inner: dict[str | None, list[Operation]] = {}
    for operation in every:
        inner.setdefault(operation.parent if operation.parent in ids else None, []).append(operation)
    for operation in inner.get(None, ()):
        yield from _lines(operation)
        for child in inner.get(operation.id, ()):
            yield from (f"  {line}" for line in _lines(child, inside=True))
        yield ""
    yield f"{len(every)} operation{'' if len(every) == 1 else 's'}"
    for span in coverage:
        ids_held = "" if span.first_record is None else f", record ids {span.first_record} to {span.last_record}"
        time = clock.as_text(None)
        if span.first is not None and span.last is not None:
            time = clock.span_text(Moment(span.first, span.time_basis), Moment(span.last, span.time_basis))
        yield f"{span.source}: {span.records} records{ids_held}, {time}"
        yield from (f"  {note}" for note in span.notes)


def _lines(operation: Operation, *, inside: bool = False) -> Iterator[str]:
    process = f"{operation.process or 'a process that is not named'} (process {operation.process_id})"
    yield f"{clock.as_text(operation.time)}  {operation.host}  {process}  {_TITLES[operation.kind]}"
    yield from (f"  {line}" for line in _inside(operation, inside))


def _inside(operation: Operation, inside: bool) -> Iterator[str]:
    yield from _what(operation)
    if operation.chain_result or operation.elements:
        status = ", ".join(operation.chain_status) or "no error"
        name = result_name(from_hex(operation.chain_result))
        yield f"chain: {_result(operation.chain_result, name) or 'no result'}, {status}"
        yield from (f"  {line}" for line in _elements(operation))
    for note in operation.notes:
        yield f"! {note}"
    if not inside:
        yield "events"
        for step in operation.steps:
            record = "" if step.origin.record is None else f"record {step.origin.record}"
            yield f"  {step.time:%H:%M:%S.%f}"[:-3] + f"  {step.event_id:>2}  {record}  {'  ' * step.depth}{step.text}"


def _what(operation: Operation) -> Iterator[str]:
    if operation.target:
        yield operation.target
    if operation.subject or operation.thumbprint:
        yield _name(operation.subject, operation.thumbprint)
    outcome = _result(operation.result, operation.result_name)
    if operation.policy:
        server = f" for the server name {operation.server_name}" if operation.server_name else ""
        role = f" (authType {operation.auth_type})" if operation.auth_type else ""
        yield f"{operation.policy}{role}{server}: {outcome or 'no result'}"
    elif outcome and not operation.chain_result:
        yield f"result: {outcome}"
    if operation.ignore_flags:
        yield f"told not to look at: {', '.join(operation.ignore_flags)}"


def _elements(operation: Operation) -> Iterator[str]:
    for number, element in enumerate(operation.elements, 1):
        yield f"{number}  {_name(element.subject, element.thumbprint)}  {_status(element)}"
        if number == 1 and operation.certificate is not None:
            yield f"   {_certificate(operation.certificate)}"
    if operation.elements and not operation.elements[-1].self_signed:
        issuer = f": {operation.missing_issuer.subject}" if operation.missing_issuer else ""
        yield f"   no issuer was found for it{issuer}"


def _status(element: ChainElement) -> str:
    errors = ", ".join(element.errors) or "no error"
    revocation = element.revocation_result
    if not revocation or revocation == "0":
        return errors
    return f"{errors}; revocation {revocation} {element.revocation_result_name}"


def _certificate(certificate: Certificate) -> str:
    dates = [f"{time:%Y-%m-%d}" if time else "?" for time in (certificate.not_before, certificate.not_after)]
    names = f", also for {', '.join(certificate.alternate_names)}" if certificate.alternate_names else ""
    return f"{certificate.subject}, issued by {certificate.issuer}, {dates[0]} to {dates[1]}{names}"


def _name(subject: str, thumbprint: str) -> str:
    return f"{subject or 'no name'} [{thumbprint}]" if thumbprint else subject


def _result(result: str, name: str) -> str:
    return "passed" if result == "0" else f"{result} {name}".strip()
