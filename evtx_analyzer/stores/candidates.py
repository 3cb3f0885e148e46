"""Which certificates of which exported stores are in question for an incident."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from evtx_analyzer.distinguished_names import certificate_names, connector_covers, issuer_and_subject
from evtx_analyzer.exchange import SEND_CONNECTOR
from evtx_analyzer.hosts import relation
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Setting
from evtx_analyzer.model.evidence import HostRelation, Incident, Operation
from evtx_analyzer.model.stores import ChainBasis
from evtx_analyzer.normalize import iis_smtp
from evtx_analyzer.stores.assemble import StoreContents
from evtx_analyzer.stores.chain import Held, Pool, name_key


class Known(Struct, frozen=True):
    """What else the input tells of certificates: files, and the chains that CAPI2 built."""

    files: Mapping[str, tuple[Certificate, bytes]]
    shown: Mapping[str, Certificate]
    operations: Sequence[Operation]
    settings: Sequence[Setting]


def of_host(
    incident: Incident, contents: Sequence[StoreContents], operations: Sequence[Operation]
) -> tuple[list[StoreContents], HostRelation]:
    """The stores that may be those of the machine of an incident, and how sure that is."""
    same = [item for item in contents if item.store.host and item.store.host == incident.host]
    if same:
        assumed = any(item.store.host_basis == "assumed" for item in same)
        basis = "assumed" if assumed else incident.rejections[0].host_basis
        return same, relation(incident.host, basis, incident.host)
    hosts = {*(item.store.host for item in contents), *(operation.host for operation in operations)} - {""}
    nameless = [item for item in contents if not item.store.host]
    if incident.host or len(hosts) > 1:
        return nameless, "unknown"
    return list(contents), "unknown"


def candidates(incident: Incident, stores: Pool, known: Known) -> list[tuple[ChainBasis, Held]]:
    """The certificates in question: the one sent, else the one that the connector names, else those with its name."""
    certificate = incident.certificate
    if certificate is not None and certificate.thumbprint:
        sent = any(rejection.sent and rejection.sent.thumbprint for rejection in incident.rejections)
        told = Certificate(thumbprint=certificate.thumbprint, subject=certificate.subject, issuer=certificate.issuer)
        return [("sent" if sent else "check", _completed(told, stores, known))]
    named = [
        parts
        for setting in known.settings
        if setting.cmdlet == SEND_CONNECTOR
        and setting.values.get("Name", "").casefold() == incident.connector.casefold()
        if (parts := issuer_and_subject(setting.values.get("TlsCertificateName", ""))) is not None
    ]
    wanted = {(name_key(issuer), name_key(subject)) for issuer, subject in named}
    configured = [
        held
        for held in stores.in_my()
        if (name_key(held.certificate.issuer), name_key(held.certificate.subject)) in wanted
    ]
    if configured:
        return [("connector", item) for item in configured]
    if incident.kind != iis_smtp.KIND:
        return []
    # IIS SMTP takes a certificate with the name of its virtual server, and its log shows none.
    own = {item.helo for item in (*incident.rejections, *(group.shared for group in incident.alike)) if item.helo}
    return [
        ("name", held)
        for held in stores.in_my()
        if any(connector_covers(name, one) for name in certificate_names(held.certificate) for one in own)
    ]


def _completed(told: Certificate, stores: Pool, known: Known) -> Held:
    """The certificate with what a store, a file or CAPI2 tells of it; a Send log shows names only."""
    held = stores.of(told.thumbprint)
    if held is not None and held.certificate.issuer:
        return held
    certificate, encoded = known.files.get(told.thumbprint, (told, b""))
    if not certificate.issuer:
        certificate = known.shown.get(told.thumbprint) or told
    return Held(certificate=certificate, encoded=encoded, stores=held.stores if held else ())
