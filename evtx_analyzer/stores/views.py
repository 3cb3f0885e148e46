"""Incidents against the stores of their machine: the chain of the certificate in question, and its flat view.

The view is Sigma service ``certificate-store``; docs/rules.md lists its fields. A store shows the state at the time of
its export: a field is absent where nothing tells, and what was true when the mail was refused is never claimed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.distinguished_names import (
    certificate_names,
    common_name,
    connector_covers,
    has_domain_component,
    issuer_and_subject,
)
from evtx_analyzer.exchange import SEND_CONNECTOR
from evtx_analyzer.hosts import relation
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Event, Setting
from evtx_analyzer.model.evidence import HostRelation, Incident, Operation
from evtx_analyzer.model.origin import Fields, Origin
from evtx_analyzer.model.stores import ChainBasis, PrivateKey, StoreChain, StoreElement
from evtx_analyzer.public_roots import is_public_root
from evtx_analyzer.stores.assemble import MACHINE, StoreContents, known_certificates
from evtx_analyzer.stores.chain import (
    TRUSTED,
    Held,
    Pool,
    is_self_signed,
    issuers,
    may_be_held,
    name_key,
    path,
    pool,
    signed,
)

VIEW = "certificate-store"
IIS = "iis-smtp"
_CA, _MY = f"{MACHINE}\\CA", f"{MACHINE}\\My"
_PLACES_OF_INTERMEDIATES = frozenset({_CA, _MY})
_DAY = timedelta(days=1)
_PASSED = "0"


class _Known(Struct, frozen=True):
    """What else the input tells of certificates: files, and the chains that CAPI2 built."""

    files: Mapping[str, tuple[Certificate, bytes]]
    shown: Mapping[str, Certificate]
    operations: Sequence[Operation]
    settings: Sequence[Setting]


class _Machine(Struct, frozen=True):
    """The stores of the machine of an incident, and how sure it is that they are of this machine."""

    incident: Incident
    hosts: HostRelation
    contents: Sequence[StoreContents]
    stores: Pool

    @property
    def exported(self) -> datetime | None:
        """The time of the last export, where it is known of all."""
        times = [item.store.exported for item in self.contents]
        return None if None in times else max(time for time in times if time is not None)


def store_views(
    incidents: Iterable[Incident],
    contents: Sequence[StoreContents],
    exported: Sequence[Event],
    operations: Sequence[Operation],
    shown: Mapping[str, Certificate],
) -> list[tuple[StoreChain, Fields]]:
    """For each incident the chains of the certificates in question with their views; none where no store fits.

    ``exported`` are the exports of the case, ``operations`` the checks of CAPI2, ``shown`` certificates that logs and
    files tell of.
    """
    if not contents:
        return []
    settings = [event for event in exported if isinstance(event, Setting)]
    known = _Known(known_certificates(exported), shown, operations, settings)
    return [view for incident in incidents for view in _of_incident(incident, contents, known)]


def _of_incident(
    incident: Incident, contents: Sequence[StoreContents], known: _Known
) -> Iterator[tuple[StoreChain, Fields]]:
    fitting, hosts = _of_host(incident, contents, known.operations)
    if not fitting:
        return
    stores = pool(fitting)
    candidates = _candidates(incident, stores, known)
    for basis, leaf in candidates:
        found, fields = _view(_Machine(incident, hosts, fitting, stores), basis, leaf, known)
        yield found, fields | ({"OnlyCandidate": ("true",)} if len(candidates) == 1 else {})


def _of_host(
    incident: Incident, contents: Sequence[StoreContents], operations: Sequence[Operation]
) -> tuple[list[StoreContents], HostRelation]:
    """The stores that may be those of the machine of an incident, and how sure that is."""
    same = [item for item in contents if item.store.host and item.store.host == incident.host]
    if same:
        assumed = any(item.store.host_basis == "assumed" for item in same)
        basis = "assumed" if assumed else incident.rejections[0].host_basis
        return same, relation(incident.host, basis, incident.host)
    hosts = {*(item.store.host for item in contents), *(item.host for item in operations)} - {""}
    nameless = [item for item in contents if not item.store.host]
    if incident.host or len(hosts) > 1:
        return nameless, "unknown"
    return list(contents), "unknown"


def _candidates(incident: Incident, stores: Pool, known: _Known) -> list[tuple[ChainBasis, Held]]:
    """The certificates in question: the one sent, else the one that the connector names, else those with its name."""
    certificate = incident.certificate
    if certificate is not None and certificate.thumbprint:
        sent = any(item.sent and item.sent.thumbprint for item in incident.rejections)
        told = Certificate(thumbprint=certificate.thumbprint, subject=certificate.subject, issuer=certificate.issuer)
        return [("sent" if sent else "check", _completed(told, stores, known))]
    named = [
        parts
        for item in known.settings
        if item.cmdlet == SEND_CONNECTOR and item.values.get("Name", "").casefold() == incident.connector.casefold()
        if (parts := issuer_and_subject(item.values.get("TlsCertificateName", ""))) is not None
    ]
    wanted = {(name_key(issuer), name_key(subject)) for issuer, subject in named}
    configured = [
        item
        for item in stores.in_my()
        if (name_key(item.certificate.issuer), name_key(item.certificate.subject)) in wanted
    ]
    if configured:
        return [("connector", item) for item in configured]
    if incident.kind != IIS:
        return []
    # IIS SMTP takes a certificate with the name of its virtual server, and its log shows none.
    own = {item.helo for item in incident.rejections if item.helo}
    return [
        ("name", item)
        for item in stores.in_my()
        if any(connector_covers(name, one) for name in certificate_names(item.certificate) for one in own)
    ]


def _completed(told: Certificate, stores: Pool, known: _Known) -> Held:
    """The certificate with what a store, a file or CAPI2 tells of it; a Send log shows names only."""
    held = stores.of(told.thumbprint)
    if held is not None and held.certificate.issuer:
        return held
    certificate, encoded = known.files.get(told.thumbprint, (told, b""))
    if not certificate.issuer:
        certificate = known.shown.get(told.thumbprint) or told
    return Held(certificate=certificate, encoded=encoded, stores=held.stores if held else ())


# ------------------------------------------------------------------------------------------------------------- chains


def _view(machine: _Machine, basis: ChainBasis, leaf: Held, known: _Known) -> tuple[StoreChain, Fields]:
    """The chain of a certificate and its view."""
    stores = machine.stores
    chain = path(leaf, stores.machine)
    missing = _missing(chain[-1])
    elsewhere = issuers(chain[-1], stores.user) if missing else []
    found = StoreChain(
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
        same_name=tuple(item.certificate.thumbprint for item in _namesakes(leaf, stores)),
        exported=machine.exported,
    )
    return found, _fields(found, chain, machine, known)


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
    absent = bool(missing.subject) and _CA in stores.whole and not may_be_held(missing, stores.machine)
    return "issuer-absent" if absent and name_key(chain[-1].certificate.issuer) else "unknown"


def _role(chain: Sequence[Held], missing: Certificate, known: _Known) -> Literal["root", "intermediate", "unknown"]:
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
        item.missing_issuer_role
        for item in known.operations
        if item.missing_issuer_role and item.elements and item.elements[-1].thumbprint == last
    }
    return next(iter(roles)) if len(roles) == 1 else "unknown"


def _element(item: Held, above: Held | None) -> StoreElement:
    certificate = item.certificate
    return StoreElement(
        thumbprint=certificate.thumbprint,
        subject=certificate.subject,
        issuer=certificate.issuer,
        stores=item.stores,
        not_after=certificate.not_after,
        signed=signed(item, above) if above is not None else None,
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
        item
        for item in stores.in_my()
        if item.certificate.thumbprint != leaf.certificate.thumbprint and own & certificate_names(item.certificate)
    ]


# ------------------------------------------------------------------------------------------------------------- fields


def _fields(found: StoreChain, chain: Sequence[Held], machine: _Machine, known: _Known) -> Fields:
    """The view of one chain; a field without a value is absent."""
    leaf, stores = chain[0], machine.stores
    facts: dict[str, list[str]] = {
        "Computer": [found.host],
        "Thumbprint": [found.thumbprint],
        "Subject": [found.subject],
        "Basis": [found.basis],
        "Exported": _exported(found.exported, machine.incident),
        "WholeStore": sorted(stores.whole),
        "Chain": [found.result],
        "Elements": [str(len(chain))],
        "MissingIssuer": [found.missing_issuer_role or ""],
        "MissingIssuerName": [found.missing_issuer.subject] if found.missing_issuer else [],
        "MissingIssuerPrivate": _private(found.missing_issuer, found.missing_issuer_role),
        "MissingIssuerElsewhere": list(found.elsewhere),
        "IntermediateIn": _intermediates(chain),
        "IntermediateExpired": [item.certificate.subject for item in chain[1:] if _expired(item, machine.incident)],
        "SameName": list(found.same_name),
        "LastCheck": _last_check(found, machine.incident, known.operations),
    }
    if leaf.stores or _MY in stores.whole:
        facts["InMy"] = [_yes(_MY in leaf.stores)]
    if leaf.certificate.subject and leaf.certificate.issuer:
        facts["SelfSigned"] = [_yes(is_self_signed(leaf.certificate))]
    if (expired := _expired(leaf, machine.incident)) is not None:
        facts["Expired"] = [_yes(expired)]
    if found.key is not None:
        facts["HasPrivateKey"] = [] if found.key.present is None else [_yes(found.key.present)]
        facts["KeyTest"], facts["KeyProvider"] = [found.key.test], [found.key.provider]
        facts["KeySpec"] = [found.key.key_spec]
    if found.result == "complete" and len(chain) > 1:
        facts.update(_root(chain[-1], stores))
    return {name: kept for name, values in facts.items() if (kept := tuple(value for value in values if value))}


def _exported(time: datetime | None, incident: Incident) -> list[str]:
    """Whether the export was made before the refusals, after them, or within a day of them."""
    if time is None or incident.unknown_zone_count:
        return []
    if time < incident.start - _DAY:
        return ["before"]
    return ["after" if time > incident.end + _DAY else "around"]


def _private(missing: Certificate | None, role: str | None) -> list[str]:
    """Whether the missing issuer may be a company's own root, which is no intermediate: by the words of its name."""
    if missing is None or role == "intermediate":
        return []
    rooted = "root" in common_name(missing.subject).casefold().replace("-", " ").split()
    return [_yes(True)] if rooted or has_domain_component(missing.subject) else []


def _intermediates(chain: Sequence[Held]) -> list[str]:
    """Stores of the intermediates that lie neither in CA nor in My."""
    between = [item for item in chain[1:] if not is_self_signed(item.certificate)]
    misplaced = [item for item in between if not _PLACES_OF_INTERMEDIATES & set(item.stores)]
    return sorted({store for item in misplaced for store in item.stores})


def _expired(item: Held, incident: Incident) -> bool | None:
    """Whether a certificate had expired before the first refusal; None where nothing tells, or only a day is known."""
    last, first_refusal = item.certificate.not_after, incident.start
    if incident.unknown_zone_count:
        return None
    if last is not None:
        return last < first_refusal
    day = item.entry.last_day if item.entry is not None else None
    if day is None:
        return None
    # The day is that of a clock whose zone is not known.
    if day + _DAY < first_refusal.date():
        return True
    return False if day - _DAY > incident.end.date() else None


def _last_check(found: StoreChain, incident: Incident, operations: Sequence[Operation]) -> list[str]:
    """How the last check of the certificate on this machine ended, up to the last refusal: ``passed`` or ``failed``."""
    checks = [
        item
        for item in operations
        if item.policy and item.thumbprint == found.thumbprint and item.host == found.host and item.time <= incident.end
    ]
    if not checks:
        return []
    return ["passed" if max(checks, key=lambda item: item.time).result == _PASSED else "failed"]


def _root(root: Held, stores: Pool) -> dict[str, list[str]]:
    """Whether the root of a complete chain is trusted; one that Windows may fetch by itself is not called untrusted."""
    public = is_public_root(root.certificate.subject, root.certificate.subject_key_id)
    trusted = bool(TRUSTED & set(root.stores))
    facts = {"Root": [root.certificate.subject], "RootPublic": [_yes(True)] if public else []}
    if trusted or (stores.whole >= TRUSTED and not public):
        facts["RootTrusted"] = [_yes(trusted)]
    if trusted and not public and has_domain_component(root.certificate.subject):
        facts["RootPrivate"] = [_yes(True)]
    return facts


def _yes(value: bool) -> str:
    return "true" if value else "false"
