"""Build the chain of the certificate in question of each incident from the stores of its machine, with its signals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from msgspec.structs import replace

from evtx_analyzer.correlate.case_facts import CaseFacts
from evtx_analyzer.correlate.fields import facts
from evtx_analyzer.distinguished_names import certificate_names
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Event
from evtx_analyzer.model.evidence import Incident
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.model.stores import ChainBasis, PrivateKey, StoreChain, StoreElement
from evtx_analyzer.public_roots import is_public_root
from evtx_analyzer.sigma.match import Signal, with_signals
from evtx_analyzer.stores.assemble import MACHINE, StoreContents, known_certificates
from evtx_analyzer.stores.candidates import Files, candidates, of_host
from evtx_analyzer.stores.chain import (
    Held,
    Pool,
    has_other_key,
    is_self_signed,
    issuers,
    may_be_held,
    name_key,
    path,
    pool,
    signed,
)
from evtx_analyzer.stores.fields import CA, FIELDS, VIEW, StoresOfMachine, StoreView


def store_chains(
    incidents: Iterable[Incident],
    contents: Sequence[StoreContents],
    exported: Sequence[Event],
    facts_of_case: CaseFacts,
    signals: Iterable[Signal],
) -> tuple[StoreChain, ...]:
    """Return the chains of the certificates in question of each incident; none where no store may be of its machine.

    ``exported`` are the exported files of the case: stores, certificates, configuration.
    """
    if not contents:
        return ()
    files = known_certificates(exported)
    views = [view for incident in incidents for view in _of_incident(incident, contents, files, facts_of_case)]
    return tuple(with_signals(view.chain, signals, VIEW, facts(FIELDS, view)) for view in views)


def _of_incident(
    incident: Incident, contents: Sequence[StoreContents], files: Files, case: CaseFacts
) -> Iterator[StoreView]:
    of_machine, hosts = of_host(incident, contents, case.operations)
    if not of_machine:
        return
    stores = pool(of_machine)
    machine = StoresOfMachine(incident, hosts, of_machine, stores)
    leaves = candidates(incident, stores, files, case)
    for basis, leaf in leaves:
        yield _view(machine, basis, leaf, files, case, only=len(leaves) == 1)


# ------------------------------------------------------------------------------------------------------------- chains


def _view(
    machine: StoresOfMachine, basis: ChainBasis, leaf: Held, files: Files, case: CaseFacts, *, only: bool
) -> StoreView:
    """Build the chain of a certificate, and return its view."""
    stores = machine.stores
    chain = path(leaf, stores.machine)
    missing = _missing(chain[-1])
    elsewhere = issuers(chain[-1], stores.user) if missing else []
    store_chain = StoreChain(
        incident=machine.incident.id,
        host=machine.incident.host or machine.contents[0].store.host,
        host_relation=machine.hosts,
        basis=basis,
        thumbprint=leaf.certificate.thumbprint,
        subject=leaf.certificate.subject,
        result=_result(chain, missing, stores),
        elements=tuple(_element(held, above) for held, above in zip(chain, [*chain[1:], None], strict=True)),
        origin=_origin(machine.contents, "CA" if missing else "My"),
        missing_issuer=missing,
        missing_issuer_role=_role(chain, missing, files, case) if missing else None,
        elsewhere=tuple(sorted({store for held in elsewhere for store in held.stores})),
        key=_key(machine.contents, leaf.certificate.thumbprint),
        same_name=tuple(held.certificate.thumbprint for held in _namesakes(leaf, stores)),
        exported=machine.exported,
    )
    return StoreView(chain=store_chain, held=tuple(chain), machine=machine, operations=case.operations, only=only)


def _missing(last: Held) -> Certificate | None:
    """Return what the last certificate says about its issuer; None where the chain is complete."""
    certificate = last.certificate
    if is_self_signed(certificate):
        return None
    return Certificate(
        subject=certificate.issuer,
        subject_key_id=certificate.authority_key_id,
        issuer_urls=certificate.issuer_urls,
    )


def _result(
    chain: Sequence[Held], missing: Certificate | None, stores: Pool
) -> Literal["complete", "issuer-absent", "unknown"]:
    """Return whether a chain is complete, or its next issuer is absent: certain only where CA was exported whole."""
    if missing is None:
        return "complete"
    absent = bool(missing.subject) and CA in stores.whole and not may_be_held(missing, stores.machine)
    return "issuer-absent" if absent and name_key(chain[-1].certificate.issuer) else "unknown"


def _role(
    chain: Sequence[Held], missing: Certificate, files: Files, case: CaseFacts
) -> Literal["root", "intermediate", "unknown"]:
    """Return what the missing issuer is by the list of public roots, else by known certificates, else by CAPI2."""
    if not missing.subject:
        return "unknown"
    if is_public_root(missing.subject, missing.subject_key_id):
        return "root"
    wanted = name_key(missing.subject)
    for certificate in (*(certificate for certificate, _ in files.values()), *case.certificates.values()):
        same_name = certificate.issuer and name_key(certificate.subject) == wanted
        if same_name and not has_other_key(missing, certificate):
            return "root" if is_self_signed(certificate) else "intermediate"
    last = chain[-1].certificate.thumbprint
    roles = {
        operation.missing_issuer_role
        for operation in case.operations
        if operation.missing_issuer_role and operation.elements and operation.elements[-1].thumbprint == last
    }
    return next(iter(roles)) if len(roles) == 1 else "unknown"


def _element(held: Held, above: Held | None) -> StoreElement:
    certificate = held.certificate
    return StoreElement(
        thumbprint=certificate.thumbprint,
        subject=certificate.subject,
        issuer=certificate.issuer,
        stores=held.stores,
        not_after=certificate.not_after,
        signed=signed(held, above) if above is not None else None,
    )


def _origin(contents: Sequence[StoreContents], name: str) -> Origin:
    """Return the origin of the machine's store of this name, else of the first store."""
    of_machine = [content.store for content in contents if content.store.location in ("", MACHINE)]
    return next((store.origin for store in of_machine if store.name == name), contents[0].store.origin)


def _key(contents: Sequence[StoreContents], thumbprint: str) -> PrivateKey | None:
    r"""Return what the exports of LocalMachine\My show of a private key; None where they show none or contradict."""
    keys = [
        key
        for content in contents
        if content.store.name == "My" and content.store.location in ("", MACHINE)
        for key in content.store.keys
        if key.thumbprint == thumbprint
    ]
    presence = {key.present for key in keys} - {None}
    if not keys or len(presence) > 1:
        return None
    best = max(keys, key=lambda key: (key.present is not None, bool(key.key_spec), bool(key.provider)))
    return replace(best, test=next((key.test for key in keys if key.test), ""))


def _namesakes(leaf: Held, stores: Pool) -> list[Held]:
    r"""Return the other certificates of LocalMachine\My that have a name of this one."""
    own = certificate_names(leaf.certificate)
    return [
        held
        for held in stores.in_my()
        if held.certificate.thumbprint != leaf.certificate.thumbprint and own & certificate_names(held.certificate)
    ]
