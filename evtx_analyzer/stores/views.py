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

from evtx_analyzer.correlate.case_facts import CaseFacts
from evtx_analyzer.correlate.fields import Field, facts
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
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.model.stores import ChainBasis, PrivateKey, StoreChain, StoreElement
from evtx_analyzer.normalize import iis_smtp
from evtx_analyzer.public_roots import is_public_root
from evtx_analyzer.sigma.match import Signal, with_signals
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


class _View(Struct, frozen=True, kw_only=True):
    """A chain with what its fields are taken from; ``only`` is whether no other certificate is in question."""

    chain: StoreChain
    held: tuple[Held, ...]
    machine: _Machine
    operations: Sequence[Operation]
    only: bool

    @property
    def incident(self) -> Incident:
        return self.machine.incident

    @property
    def leaf(self) -> Held:
        return self.held[0]

    @property
    def root(self) -> Held | None:
        """The root of a complete chain; a self-signed leaf is none."""
        return self.held[-1] if self.chain.result == "complete" and len(self.held) > 1 else None


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
    known = _Known(files, facts_of_case.certificates, facts_of_case.operations, facts_of_case.settings)
    views = [view for incident in incidents for view in _of_incident(incident, contents, known)]
    return tuple(with_signals(view.chain, signals, VIEW, facts(FIELDS, view)) for view in views)


def _of_incident(incident: Incident, contents: Sequence[StoreContents], known: _Known) -> Iterator[_View]:
    fitting, hosts = _of_host(incident, contents, known.operations)
    if not fitting:
        return
    stores = pool(fitting)
    candidates = _candidates(incident, stores, known)
    for basis, leaf in candidates:
        machine = _Machine(incident, hosts, fitting, stores)
        yield _view(machine, basis, leaf, known, only=len(candidates) == 1)


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
    if incident.kind != iis_smtp.KIND:
        return []
    # IIS SMTP takes a certificate with the name of its virtual server, and its log shows none.
    own = {item.helo for item in (*incident.rejections, *(group.shared for group in incident.alike)) if item.helo}
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


def _view(machine: _Machine, basis: ChainBasis, leaf: Held, known: _Known, *, only: bool) -> _View:
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
    return _View(chain=found, held=tuple(chain), machine=machine, operations=known.operations, only=only)


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


def _exported(view: _View) -> str | None:
    """Whether the export was made before the refusals, after them, or within a day of them."""
    time, incident = view.chain.exported, view.incident
    if time is None or incident.unknown_zone_count:
        return None
    if time < incident.start - _DAY:
        return "before"
    return "after" if time > incident.end + _DAY else "around"


def _private(view: _View) -> bool | None:
    """Whether the missing issuer may be a company's own root, which is no intermediate: by the words of its name."""
    missing = view.chain.missing_issuer
    if missing is None or view.chain.missing_issuer_role == "intermediate":
        return None
    rooted = "root" in common_name(missing.subject).casefold().replace("-", " ").split()
    return True if rooted or has_domain_component(missing.subject) else None


def _misplaced(view: _View) -> list[str]:
    """Stores of the intermediates that lie neither in CA nor in My."""
    between = [item for item in view.held[1:] if not is_self_signed(item.certificate)]
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


def _last_check(view: _View) -> str | None:
    """How the last check of the certificate on this machine ended, up to the last refusal."""
    chain, end = view.chain, view.incident.end
    of_leaf = [item for item in view.operations if item.policy and item.thumbprint == chain.thumbprint]
    checks = [item for item in of_leaf if item.host == chain.host and item.time <= end]
    if not checks:
        return None
    return "passed" if max(checks, key=lambda item: item.time).result == _PASSED else "failed"


def _is_public(item: Held | None) -> bool:
    return item is not None and is_public_root(item.certificate.subject, item.certificate.subject_key_id)


def _trusted(view: _View) -> bool | None:
    """Whether the root of a complete chain is trusted; one that Windows may fetch by itself is not called untrusted."""
    if view.root is None:
        return None
    if TRUSTED & set(view.root.stores):
        return True
    return False if view.machine.stores.whole >= TRUSTED and not _is_public(view.root) else None


def _private_root(view: _View) -> bool | None:
    root = view.root
    private = root is not None and not _is_public(root) and has_domain_component(root.certificate.subject)
    return True if private and _trusted(view) else None


def _in_my(view: _View) -> bool | None:
    stores = view.leaf.stores
    return _MY in stores if stores or _MY in view.machine.stores.whole else None


def _self_signed(view: _View) -> bool | None:
    certificate = view.leaf.certificate
    return is_self_signed(certificate) if certificate.subject and certificate.issuer else None


FIELDS = (
    Field("Computer", "the machine of the refusals", lambda view: view.chain.host),
    Field("Thumbprint", "SHA-1 of the certificate in question", lambda view: view.chain.thumbprint),
    Field("Subject", "its subject", lambda view: view.chain.subject),
    Field(
        "Basis",
        "why it: `sent`, `check` (CAPI2), `connector` (the Send connector names it), `name` (IIS: the server's name)",
        lambda view: view.chain.basis,
    ),
    Field("OnlyCandidate", "`true` where no other certificate is in question", lambda view: view.only or None),
    Field("Exported", "`before`, `around` or `after` the refusals; only where a manifest tells the time", _exported),
    Field("WholeStore", "stores that were exported whole", lambda view: sorted(view.machine.stores.whole)),
    Field(
        "Chain",
        "`complete`, `issuer-absent` (LocalMachine\\CA was exported whole), `unknown`",
        lambda view: view.chain.result,
    ),
    Field("Elements", "number of certificates in the chain", lambda view: str(len(view.held))),
    Field("MissingIssuer", "`root`, `intermediate`, `unknown`", lambda view: view.chain.missing_issuer_role),
    Field(
        "MissingIssuerName",
        "subject of the missing issuer",
        lambda view: view.chain.missing_issuer.subject if view.chain.missing_issuer else None,
    ),
    Field("MissingIssuerPrivate", "`true` where its name may be that of a company's own root", _private),
    Field("MissingIssuerElsewhere", "stores of a user that hold it", lambda view: view.chain.elsewhere),
    Field("IntermediateIn", "stores of intermediates that lie neither in CA nor in My", _misplaced),
    Field(
        "IntermediateExpired",
        "intermediates that had expired before the first refusal",
        lambda view: [item.certificate.subject for item in view.held[1:] if _expired(item, view.incident)],
    ),
    Field(
        "SameName", "other certificates of LocalMachine\\My with one of its names", lambda view: view.chain.same_name
    ),
    Field(
        "LastCheck", "`passed`, `failed`: its last check by CAPI2 on this machine, up to the last refusal", _last_check
    ),
    Field("InMy", "whether LocalMachine\\My holds it", _in_my),
    Field("SelfSigned", "whether it is its own issuer", _self_signed),
    Field(
        "Expired", "whether it had expired before the first refusal", lambda view: _expired(view.leaf, view.incident)
    ),
    Field(
        "HasPrivateKey",
        "whether there is a private key",
        lambda view: view.chain.key.present if view.chain.key else None,
    ),
    Field(
        "KeyTest",
        "`passed`, `failed`: certutil's test of the key",
        lambda view: view.chain.key.test if view.chain.key else None,
    ),
    Field("KeyProvider", "provider of the key", lambda view: view.chain.key.provider if view.chain.key else None),
    Field(
        "KeySpec",
        "`AT_KEYEXCHANGE`, `AT_SIGNATURE`, `0`",
        lambda view: view.chain.key.key_spec if view.chain.key else None,
    ),
    Field("Root", "subject of the root", lambda view: view.root.certificate.subject if view.root else None),
    Field("RootPublic", "`true` where it is a public root", lambda view: _is_public(view.root) or None),
    Field("RootTrusted", "whether Root or AuthRoot holds it; both exported whole where not", _trusted),
    Field("RootPrivate", "`true` where it is trusted here and has domain components in its name", _private_root),
)
