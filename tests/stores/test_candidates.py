"""Which stores belong to a refused machine, how certain that is, and which certificates are in question."""

from __future__ import annotations

import pytest
from evidence import OTHER, OWN, operation, rejection
from msgspec.structs import replace

from evtx_analyzer.correlate.case_facts import CaseFacts
from evtx_analyzer.correlate.incidents import incidents
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import Setting
from evtx_analyzer.model.evidence import IncidentCertificate
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.model.stores import Store
from evtx_analyzer.stores.assemble import StoreContents
from evtx_analyzer.stores.candidates import candidates, of_host
from evtx_analyzer.stores.chain import Held, Pool, pool

CASE = CaseFacts(certificates={OWN: Certificate(thumbprint=OWN, subject="CN=a", issuer="CN=x")})


def incident(**changes):
    (made,) = incidents([rejection(**changes)], (), {})
    return made


def store(host, basis="row"):
    made = Store(name="My", host=host, certificates=(), origin=Origin(source=f"{host}.txt"), host_basis=basis)
    return StoreContents(store=made, entries=())


@pytest.mark.parametrize(
    ("host", "contents", "checked_on", "expected"),
    [
        ("EX01", [("EX01", "row"), ("EX02", "row")], [], ([0], "same")),
        # One store whose machine is assumed makes all of it an assumption.
        ("EX01", [("EX01", "row"), ("EX01", "assumed")], [], ([0, 1], "assumed")),
        ("EX01", [("EX01", "assumed"), ("EX01", "row")], [], ([0, 1], "assumed")),
        ("EX01", [("EX02", "row"), ("", "unknown")], [], ([1], "unknown")),
        ("", [("EX01", "row"), ("", "unknown")], ["EX01"], ([0, 1], "unknown")),
        ("", [("EX01", "row"), ("", "unknown")], ["EX02"], ([1], "unknown")),
    ],
)
def test_stores_that_may_be_of_the_refused_machine(host, contents, checked_on, expected):
    every = [store(*content) for content in contents]
    checks = [operation(host=name) for name in checked_on]
    places, relation = expected
    of_incident = incident(host=host, host_basis="row" if host else "unknown")
    assert of_host(of_incident, every, checks) == ([every[place] for place in places], relation)


@pytest.mark.parametrize(
    ("sent", "basis"),
    [
        (Certificate(thumbprint=OWN), "sent"),
        (Certificate(subject="CN=a"), "check"),  # the log has lost the thumbprint: the check has it
        (None, "check"),
    ],
)
def test_a_certificate_is_known_as_the_one_sent_only_by_its_thumbprint(sent, basis):
    of_incident = replace(incident(sent=sent), certificate=IncidentCertificate(thumbprint=OWN, subject="", issuer=""))
    ((known, held),) = candidates(of_incident, pool([]), {}, CASE)
    assert (known, held.certificate) == (basis, CASE.certificates[OWN])


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (Certificate(thumbprint=OWN, subject="CN=file", issuer="CN=y"), "CN=file"),
        (Certificate(thumbprint=OWN, subject="CN=file"), "CN=a"),  # a list that shows no issuer
        (None, "CN=a"),
    ],
)
def test_a_file_shows_more_than_a_log_and_a_log_more_than_a_list(file, expected):
    files = {OWN: (file, b"der")} if file else {OTHER: (Certificate(thumbprint=OTHER), b"")}
    ((_, held),) = candidates(incident(), pool([]), files, CASE)
    assert held.certificate.subject == expected


@pytest.mark.parametrize(
    ("cmdlet", "name", "asked_for", "basis"),
    [
        ("Get-SendConnector", "OUTBOUND", "<I>CN=x<S>CN=a", ["connector"]),
        ("Get-SendConnector", "Partner", "<I>CN=x<S>CN=a", []),
        ("Get-SendConnector", "Outbound", "<I>CN=y<S>CN=a", []),
        ("Get-SendConnector", "Outbound", "", []),
        # A Receive connector of the same name has a TlsCertificateName too.
        ("Get-ReceiveConnector", "Outbound", "<I>CN=x<S>CN=a", []),
    ],
)
def test_without_a_certificate_in_the_log_the_send_connector_names_it(cmdlet, name, asked_for, basis):
    held = Held(certificate=CASE.certificates[OWN], encoded=b"", stores=("LocalMachine\\My",))
    values = {"Name": name, "TlsCertificateName": asked_for}
    case = CaseFacts(settings=(Setting(origin=Origin(source="s.json"), cmdlet=cmdlet, values=values),))
    in_question = candidates(incident(sent=None), Pool(machine=(held,), user=(), whole=frozenset()), {}, case)
    assert [known for known, _ in in_question] == basis


@pytest.mark.parametrize(
    ("kind", "names", "basis"),
    [
        ("iis-smtp", ("mail.contoso.com",), ["name"]),
        ("iis-smtp", ("www.contoso.com", "mail.contoso.com"), ["name"]),  # one of its names is enough
        ("iis-smtp", ("www.contoso.com",), []),
        ("send-connector", ("mail.contoso.com",), []),  # its log would show the certificate
    ],
)
def test_iis_smtp_uses_a_certificate_with_the_name_by_which_it_greets(kind, names, basis):
    shown = Certificate(thumbprint=OWN, subject="CN=a", issuer="CN=x", alternate_names=names)
    held = Held(certificate=shown, encoded=b"", stores=("LocalMachine\\My",))
    of_incident = incident(sent=None, kind=kind, helo="mail.contoso.com")
    in_question = candidates(of_incident, Pool(machine=(held,), user=(), whole=frozenset()), {}, CASE)
    assert [known for known, _ in in_question] == basis
