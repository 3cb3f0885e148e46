"""Find the certificates in question for an incident, in the exported stores of its machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evtx_analyzer.correlate.case_facts import CaseFacts
from evtx_analyzer.distinguished_names import certificate_names, connector_covers, issuer_and_subject
from evtx_analyzer.exchange import SEND_CONNECTOR
from evtx_analyzer.hosts import relation
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.evidence import HostRelation, Incident, Operation
from evtx_analyzer.model.stores import ChainBasis
from evtx_analyzer.normalize import iis_smtp
from evtx_analyzer.stores.assemble import StoreContents
from evtx_analyzer.stores.chain import Held, Pool, name_key

Files = Mapping[str, tuple[Certificate, bytes]]
"""Certificates of files and stores by thumbprint, with their DER bytes."""


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


def candidates(incident: Incident, stores: Pool, files: Files, case: CaseFacts) -> list[tuple[ChainBasis, Held]]:
    """Return the certificates in question, and why they are.

    That is the one that was sent or checked; else those that the Send connector names; else, for IIS SMTP, those with
    the name by which the server greets.
    """
    certificate = incident.certificate
    if certificate is not None and certificate.thumbprint:
        sent = any(rejection.sent and rejection.sent.thumbprint for rejection in incident.rejections)
        names = Certificate(thumbprint=certificate.thumbprint, subject=certificate.subject, issuer=certificate.issuer)
        return [("sent" if sent else "check", _completed(names, stores, files, case))]
    of_connector = [
        parts
        for setting in case.settings
        if setting.cmdlet == SEND_CONNECTOR
        and setting.values.get("Name", "").casefold() == incident.connector.casefold()
        if (parts := issuer_and_subject(setting.values.get("TlsCertificateName", ""))) is not None
    ]
    wanted = {(name_key(issuer), name_key(subject)) for issuer, subject in of_connector}
    own = [(held, held.certificate) for held in stores.in_my()]
    configured = [held for held, shown in own if (name_key(shown.issuer), name_key(shown.subject)) in wanted]
    if configured:
        return [("connector", held) for held in configured]
    if incident.kind != iis_smtp.KIND:
        return []
    # IIS SMTP uses a certificate with the name of its virtual server, and its log shows no certificate.
    rejections = (*incident.rejections, *(group.shared for group in incident.alike))
    own_names = {rejection.helo for rejection in rejections if rejection.helo}
    return [
        ("name", held)
        for held, shown in own
        if any(connector_covers(name, helo) for name in certificate_names(shown) for helo in own_names)
    ]


def _completed(from_log: Certificate, stores: Pool, files: Files, case: CaseFacts) -> Held:
    """Return a certificate of a log with what a store, a file or CAPI2 has of it; a Send log has only its names."""
    held = stores.of(from_log.thumbprint)
    if held is not None and held.certificate.issuer:
        return held
    certificate, encoded = files.get(from_log.thumbprint, (from_log, b""))
    if not certificate.issuer:
        certificate = case.certificates.get(from_log.thumbprint) or from_log
    return Held(certificate=certificate, encoded=encoded, stores=held.stores if held else ())
