"""Incidents against the stores of their machine: the chain of the certificate in question, with its signals."""

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
from evtx_analyzer.stores.candidates import Known, candidates, of_host
from evtx_analyzer.stores.chain import Held, Pool, is_self_signed, issuers, may_be_held, name_key, path, pool, signed
from evtx_analyzer.stores.fields import CA, FIELDS, VIEW, StoresOfMachine, StoreView


def store_chains(
    incidents: Iterable[Incident],
    contents: Sequence[StoreContents],
    exported: Sequence[Event],
    facts_of_case: CaseFacts,
    signals: Iterable[Signal],
) -> tuple[StoreChain, ...]:
    """For each incident the chains of the certificates in question with their signals; none where no store fits.

    ``exported`` are the exports of the case.
    """
    if not contents:
        return ()
    files = known_certificates(exported)
    known = Known(files, facts_of_case.certificates, facts_of_case.operations, facts_of_case.settings)
    views = [view for incident in incidents for view in _of_incident(incident, contents, known)]
    return tuple(with_signals(view.chain, signals, VIEW, facts(FIELDS, view)) for view in views)


def _of_incident(incident: Incident, contents: Sequence[StoreContents], known: Known) -> Iterator[StoreView]:
    fitting, hosts = of_host(incident, contents, known.operations)
    if not fitting:
        return
    stores = pool(fitting)
    found = candidates(incident, stores, known)
    for basis, leaf in found:
        machine = StoresOfMachine(incident, hosts, fitting, stores)
        yield _view(machine, basis, leaf, known, only=len(found) == 1)


# ------------------------------------------------------------------------------------------------------------- chains


def _view(machine: StoresOfMachine, basis: ChainBasis, leaf: Held, known: Known, *, only: bool) -> StoreView:
    """The chain of a certificate and its view."""
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
        elements=tuple(_element(item, above) for item, above in zip(chain, [*chain[1:], None], strict=True)),
        origin=_origin(machine.contents, "CA" if missing else "My"),
        missing_issuer=missing,
        missing_issuer_role=_role(chain, missing, known) if missing else None,
        elsewhere=tuple(sorted({store for item in elsewhere for store in item.stores})),
        key=_key(machine.contents, leaf.certificate.thumbprint),
        same_name=tuple(held.certificate.thumbprint for held in _namesakes(leaf, stores)),
        exported=machine.exported,
    )
    return StoreView(chain=store_chain, held=tuple(chain), machine=machine, operations=known.operations, only=only)


def _missing(last: Held) -> Certificate | None:
    """The issuer that would come next, as far as the last certificate names it; None where the chain is complete."""
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
    if missing is None:
        return "complete"
    absent = bool(missing.subject) and CA in stores.whole and not may_be_held(missing, stores.machine)
    return "issuer-absent" if absent and name_key(chain[-1].certificate.issuer) else "unknown"


def _role(chain: Sequence[Held], missing: Certificate, known: Known) -> Literal["root", "intermediate", "unknown"]:
    """What the missing issuer is: as the list of public roots, files, other stores and CAPI2 tell."""
    if not missing.subject:
        return "unknown"
    if is_public_root(missing.subject, missing.subject_key_id):
        return "root"
    wanted = name_key(missing.subject)
    for certificate in (*(item for item, _ in known.files.values()), *known.shown.values()):
        other_key = missing.subject_key_id and certificate.subject_key_id not in ("", missing.subject_key_id)
        if certificate.issuer and not other_key and name_key(certificate.subject) == wanted:
            return "root" if is_self_signed(certificate) else "intermediate"
    last = chain[-1].certificate.thumbprint
    roles = {
        operation.missing_issuer_role
        for operation in known.operations
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
    """Where the machine's store of this name stands, else the first one."""
    of_machine = [item.store for item in contents if item.store.location in ("", MACHINE)]
    return next((store.origin for store in of_machine if store.name == name), contents[0].store.origin)


def _key(contents: Sequence[StoreContents], thumbprint: str) -> PrivateKey | None:
    r"""What the exports of LocalMachine\My say of a private key; those of other stores hold no keys."""
    keys = [
        key
        for item in contents
        if item.store.name == "My" and item.store.location in ("", MACHINE)
        for key in item.store.keys
        if key.thumbprint == thumbprint
    ]
    told = {key.present for key in keys} - {None}
    if not keys or len(told) > 1:
        return None
    best = max(keys, key=lambda key: (key.present is not None, bool(key.key_spec), bool(key.provider)))
    return replace(best, test=next((key.test for key in keys if key.test), ""))


def _namesakes(leaf: Held, stores: Pool) -> list[Held]:
    r"""Other certificates of LocalMachine\My that share a name with a certificate."""
    own = certificate_names(leaf.certificate)
    return [
        held
        for held in stores.in_my()
        if held.certificate.thumbprint != leaf.certificate.thumbprint and own & certificate_names(held.certificate)
    ]
