"""Find the certificates in question for an incident, in the exported stores of its machine."""

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
    """What else the input has about certificates.

    ``files`` are those of files and stores, with DER bytes, and ``shown`` those of logs, both by thumbprint;
    ``operations`` are the checks of CAPI2, and ``settings`` the exported configuration.
    """

    files: Mapping[str, tuple[Certificate, bytes]]
    shown: Mapping[str, Certificate]
    operations: Sequence[Operation]
    settings: Sequence[Setting]


def of_host(
    incident: Incident, contents: Sequence[StoreContents], operations: Sequence[Operation]
) -> tuple[list[StoreContents], HostRelation]:
    """Return the stores that may belong to the machine of an incident, and how certain that is."""
    same = [content for content in contents if content.store.host and content.store.host == incident.host]
    if same:
        assumed = any(content.store.host_basis == "assumed" for content in same)
        basis = "assumed" if assumed else incident.rejections[0].host_basis
        return same, relation(incident.host, basis, incident.host)
    hosts = {*(content.store.host for content in contents), *(operation.host for operation in operations)} - {""}
    nameless = [content for content in contents if not content.store.host]
    # With one machine at most, all stores may be its own; with several, only stores that name no machine may be.
    if incident.host or len(hosts) > 1:
        return nameless, "unknown"
    return list(contents), "unknown"


def candidates(incident: Incident, stores: Pool, known: Known) -> list[tuple[ChainBasis, Held]]:
    """Return the certificates in question, and why they are.

    That is the one that was sent or checked; else those that the Send connector names; else, for IIS SMTP, those with
    the name by which the server greets.
    """
    certificate = incident.certificate
    if certificate is not None and certificate.thumbprint:
        sent = any(rejection.sent and rejection.sent.thumbprint for rejection in incident.rejections)
        from_log = Certificate(
            thumbprint=certificate.thumbprint, subject=certificate.subject, issuer=certificate.issuer
        )
        return [("sent" if sent else "check", _completed(from_log, stores, known))]
    of_connector = [
        parts
        for setting in known.settings
        if setting.cmdlet == SEND_CONNECTOR
        and setting.values.get("Name", "").casefold() == incident.connector.casefold()
        if (parts := issuer_and_subject(setting.values.get("TlsCertificateName", ""))) is not None
    ]
    wanted = {(name_key(issuer), name_key(subject)) for issuer, subject in of_connector}
    configured = [
        held
        for held in stores.in_my()
        if (name_key(held.certificate.issuer), name_key(held.certificate.subject)) in wanted
    ]
    if configured:
        return [("connector", held) for held in configured]
    if incident.kind != iis_smtp.KIND:
        return []
    # IIS SMTP uses a certificate with the name of its virtual server, and its log shows no certificate.
    rejections = (*incident.rejections, *(group.shared for group in incident.alike))
    own_names = {rejection.helo for rejection in rejections if rejection.helo}
    return [
        ("name", held)
        for held in stores.in_my()
        if any(connector_covers(name, own) for name in certificate_names(held.certificate) for own in own_names)
    ]


def _completed(from_log: Certificate, stores: Pool, known: Known) -> Held:
    """Return a certificate of a log with what a store, a file or CAPI2 has of it; a Send log has only its names."""
    held = stores.of(from_log.thumbprint)
    if held is not None and held.certificate.issuer:
        return held
    certificate, encoded = known.files.get(from_log.thumbprint, (from_log, b""))
    if not certificate.issuer:
        certificate = known.shown.get(from_log.thumbprint) or from_log
    return Held(certificate=certificate, encoded=encoded, stores=held.stores if held else ())
