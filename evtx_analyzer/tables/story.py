"""Operations as a story that a person can read from top to bottom: who asked, what was done inside, what came of it.

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

Chains that were built for a signature check stand below it. Text of logs cannot act on a terminal (``clean``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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
    """Yield lines of text without line ends: each operation, then an empty line, and at the end what was covered."""
    found = list(operations)
    known = {item.id for item in found}
    inner: dict[str, list[Operation]] = {}
    for item in found:
        if item.parent in known:
            inner.setdefault(item.parent or "", []).append(item)
    for item in found:
        if item.parent in known:
            continue
        yield from (clean(line) for line in _story_lines(item, 0))
        for part in inner.get(item.id, ()):
            yield from (clean(line) for line in _story_lines(part, 1))
        yield ""
    yield f"{len(found)} operation{'' if len(found) == 1 else 's'}"
    for span in coverage:
        yield from (clean(line) for line in _covered(span))


def _covered(span: Coverage) -> Iterator[str]:
    ids = "" if span.first_record is None else f", record ids {span.first_record} to {span.last_record}"
    yield f"{span.source}: {span.records} records{ids}, {_span(span)}"
    yield from (f"  {note}" for note in span.notes)


def _span(span: Coverage) -> str:
    if span.first is None or span.last is None:
        return clock.as_text(None)
    return clock.span_text(Moment(span.first, span.time_basis), Moment(span.last, span.time_basis))


def _story_lines(item: Operation, depth: int) -> Iterator[str]:
    pad = "  " * depth
    process = f"{item.process or 'a process that is not named'} (process {item.process_id})"
    yield f"{pad}{clock.as_text(item.time)}  {item.host}  {process}  {_TITLES[item.kind]}"
    for line in _lines(item, bool(depth)):
        yield f"{pad}  {line}"


def _lines(item: Operation, inside: bool) -> Iterator[str]:
    yield from _what(item)
    if item.chain_result or item.elements:
        status = ", ".join(item.chain_status) or "no error"
        name = result_name(from_hex(item.chain_result))
        yield f"chain: {_result(item.chain_result, name) or 'no result'}, {status}"
        yield from (f"  {line}" for line in _elements(item))
    for note in item.notes:
        yield f"! {note}"
    if not inside:
        yield "events"
        for step in item.steps:
            record = "" if step.origin.record is None else f"record {step.origin.record}"
            yield f"  {step.time:%H:%M:%S.%f}"[:-3] + f"  {step.event_id:>2}  {record}  {'  ' * step.depth}{step.text}"


def _what(item: Operation) -> Iterator[str]:
    if item.target:
        yield item.target
    if item.subject or item.thumbprint:
        yield _name(item.subject, item.thumbprint)
    outcome = _result(item.result, item.result_name)
    if item.policy:
        server = f" for the server name {item.server_name}" if item.server_name else ""
        role = f" (authType {item.auth_type})" if item.auth_type else ""
        yield f"{item.policy}{role}{server}: {outcome or 'no result'}"
    elif outcome and not item.chain_result:
        yield f"result: {outcome}"
    if item.ignore_flags:
        yield f"told not to look at: {', '.join(item.ignore_flags)}"


def _elements(item: Operation) -> Iterator[str]:
    for number, element in enumerate(item.elements, 1):
        yield f"{number}  {_name(element.subject, element.thumbprint)}  {_status(element)}"
        if number == 1 and item.certificate is not None:
            yield f"   {_certificate(item.certificate)}"
    if item.elements and not item.elements[-1].self_signed:
        issuer = f": {item.missing_issuer.subject}" if item.missing_issuer else ""
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
