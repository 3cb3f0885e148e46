"""Chains from stores, and what causes make of them, end to end: the store lacks the issuer, holds it now, holds it in
the wrong place, is another machine's, another time's, a part only. A store never makes a wrong ``probable``."""

from __future__ import annotations

import certificates as made
import pytest
from smtp_case import analyze

from samples import capi2
from samples.capi2 import Cert, Recorder
from samples.cases import CAPI2_FILE, HOST, KB_TIME, SEND_FILE, _send
from samples.pieces import xml
from samples.stores import WINDOWS_OWN, manifest

NAMES = ("mail.servername.com", "servername.com")
LEAF = made.make("mail.servername.com", "Issuing CA", names=NAMES)
ISSUING = made.make("Issuing CA", "Old Root")
CROSS = made.make("Issuing CA", "New Root")
OLD_ROOT, NEW_ROOT = made.make("Old Root", "Old Root"), made.make("New Root", "New Root")
# The same name, another key: not the issuer.
NAMESAKE = made.make("Issuing CA", "Old Root", subject_key="another", issuer_key="Old Root")
UNSIGNED = made.make("mail.servername.com", "Issuing CA", issuer_key="another", names=NAMES, key_ids=False)
FOLDER = "5764-CORP-SMTP1"
GERMAN_CA = """C:\\>certutil -store CA
CA "Zwischenzertifizierungsstellen"
================ Zertifikat 0 ================
Seriennummer: 06376c00aa00648a11cfb8d4aa5c35f4
Aussteller: CN=Root Agency
 Nicht vor: 28.05.1996 15:02
 Nicht nach: 31.12.2039 16:59
Antragsteller: CN=Root Agency
Die Signatur stimmt mit dem öffentlichen Schlüssel überein.
Zertifikathash(sha1): fe e4 49 ee 0e 39 65 a5 24 6f 00 0e 87 fd e2 a0 65 fd 89 d4
CertUtil: -store-Befehl wurde erfolgreich ausgeführt.
"""


def cert(data, subject="mail.servername.com", issuer="Issuing CA"):
    parts = tuple((("CN", name), ("O", "Example, Inc.")) for name in (subject, issuer))
    return Cert(made.thumbprint(data), parts[0], parts[1], names=NAMES)


def files(leaf=LEAF, *, check="800B0109", host=HOST):
    """Send log of a refusal with the certificate, and event 30 alone: event 11 has wrapped away."""
    found = {SEND_FILE: _send(cert(leaf)).encode()}
    if check:
        recorder = Recorder(host)
        results = {"policy_result": check, "chain_result": check, "chain_error": 0}
        capi2.check(recorder, KB_TIME, [(cert(leaf), 0)], seed="x", **results)
        recorder.events = [event for event in recorder.events if "<EventID>11<" not in event]
        found["capi2.xml"] = xml(recorder)
    return found


def store(name, certificates, *, location="LocalMachine", own=None):
    entries = [(made.path(location, name), data) for data in certificates]
    text = made.clixml(entries, "utf-8").decode()
    marks = [item[3].upper() for item in WINDOWS_OWN] if own else []
    more = "".join(
        f'<Obj RefId="9"><MS><S N="PSParentPath">{made.path(location, name)}</S><S N="Thumbprint">{mark}</S>'
        f'<S N="Subject">CN=Windows {mark[:4]}</S><S N="Issuer">CN=Windows {mark[:4]}</S></MS></Obj>'
        for mark in marks
    )
    return text.replace("</Objs>", f"{more}</Objs>").encode("utf-16")


def ca(*certificates, **options):
    return store("CA", certificates, own=True, **options)


def chain(report):
    (found,) = report.store_chains
    return found


def result(report, cause="missing-intermediate"):
    grades = [incident.grades.get(cause, "no-evidence") for incident in report.incidents]
    return grades[0]


def said(report, cause="missing-intermediate"):
    finding = next(item for item in report.findings if item.cause == cause)
    return [part.text for part in finding.supports], [part.text for part in finding.contradicts]


# --------------------------------------------------------------------------------------------------- what strengthens


def test_without_a_store_event_30_alone_is_possible(tmp_path):
    report = analyze(tmp_path, files())
    assert (result(report), report.stores, report.store_chains) == ("possible", (), ())


def test_a_store_that_lacks_the_issuer_makes_it_probable(tmp_path):
    report = analyze(tmp_path, {**files(), "ca.xml": ca(OLD_ROOT)})
    assert result(report) == "probable"
    found = chain(report)
    assert (found.result, found.missing_issuer.subject) == ("issuer-absent", "CN=Issuing CA,O=Example\\, Inc.") or (
        found.missing_issuer.subject == "CN=Issuing CA, O=Example, Inc."
    )
    assert any("LocalMachine\\CA of CORP-SMTP1" in text for text in said(report)[0])


def test_a_store_alone_is_possible_at_most(tmp_path):
    report = analyze(tmp_path, {**files(check=""), "CORP-SMTP1-1201.zip.d/ca.xml": ca(OLD_ROOT)})
    assert result(report) == "possible"


def test_no_store_ever_confirms(tmp_path):
    report = analyze(
        tmp_path, {**files(), "ca.xml": ca(), "my.xml": store("My", [LEAF]), "root.xml": store("Root", [])}
    )
    assert "confirmed" not in {grade for incident in report.incidents for grade in incident.grades.values()}


# --------------------------------------------------------------------------------------------------- near misses


def test_a_store_that_holds_the_chain_says_so_and_takes_nothing_away(tmp_path):
    report = analyze(tmp_path, {**files(), "ca.xml": ca(ISSUING), "root.xml": store("Root", [OLD_ROOT])})
    assert result(report) == "possible"
    assert chain(report).result == "complete"
    assert [element.signed for element in chain(report).elements] == [None, True, None]
    assert any("may have been imported after the refusals" in text for text in said(report)[1])


def test_a_store_of_another_machine_is_not_asked(tmp_path):
    text = made.clixml([(made.path("LocalMachine", "CA"), OLD_ROOT)], "utf-8").decode()
    text = text.replace("<MS>", '<MS><S N="PSComputerName">EX09</S>').encode()
    report = analyze(tmp_path, {**files(), "ca.xml": text})
    assert (result(report), report.store_chains) == ("possible", ())
    assert report.stores[0].host == "EX09"


def test_a_filtered_export_shows_no_absence(tmp_path):
    report = analyze(tmp_path, {**files(), "ca.xml": store("CA", [OLD_ROOT])})
    assert (result(report), chain(report).result) == ("possible", "unknown")
    assert report.stores[0].whole is None


@pytest.mark.parametrize("left_out", [0, 1])
def test_a_filter_by_date_shows_no_absence(tmp_path, left_out):
    """Of what Windows brings some have expired and some have not: one of them alone tells nothing."""
    data = ca(OLD_ROOT).decode("utf-16").replace(WINDOWS_OWN[left_out][3].upper(), "0" * 40)
    assert chain(analyze(tmp_path, {**files(), "ca.xml": data.encode("utf-16")})).result == "unknown"


def test_a_store_of_another_time_does_not_strengthen(tmp_path):
    """Exported a month before the refusal: the intermediate may have come and gone since."""
    bundle = {
        f"{FOLDER}/manifest.json": manifest(ended="2016-11-01T03:31:12Z"),
        f"{FOLDER}/stores/ca.xml": ca(OLD_ROOT),
        f"{FOLDER}/SmtpSend-Hub/SEND.LOG": files()[SEND_FILE],
        "capi2.xml": files()["capi2.xml"],
    }
    report = analyze(tmp_path, bundle)
    assert chain(report).result == "issuer-absent"
    assert (result(report), chain(report).signals) == ("possible", ())


def test_only_in_current_user(tmp_path):
    """What a user's store holds of the machine's is listed there too: only the machine's own shows the absence."""
    user = ca(ISSUING, location="CurrentUser")
    report = analyze(tmp_path / "both", {**files(), "user.xml": user, "ca.xml": ca(OLD_ROOT)})
    assert (result(report), chain(report).elsewhere) == ("probable", ("CurrentUser\\CA",))
    assert any("CurrentUser\\CA only" in text for text in said(report)[0])
    report = analyze(tmp_path / "user", {**files(), "user.xml": user})
    assert (result(report), chain(report).result) == ("possible", "unknown")


def test_an_intermediate_in_the_store_of_roots(tmp_path):
    stores = {"ca.xml": ca(), "root.xml": store("Root", [ISSUING, OLD_ROOT])}
    report = analyze(tmp_path, {**files(), **stores})
    assert chain(report).result == "complete"
    assert "store_intermediate_misplaced" in chain(report).signals
    assert result(report) == "possible"


@pytest.mark.parametrize("order", [(ISSUING, CROSS), (CROSS, ISSUING)])
def test_cross_signed_intermediates(tmp_path, order):
    """Two certificates of one authority: the path that ends in a trusted root is the chain."""
    stores = {"ca.xml": ca(*order), "root.xml": store("Root", [NEW_ROOT])}
    found = chain(analyze(tmp_path, {**files(), **stores}))
    assert found.result == "complete"
    assert [element.thumbprint for element in found.elements] == [
        made.thumbprint(one) for one in (LEAF, CROSS, NEW_ROOT)
    ]


def test_a_namesake_of_the_issuer_is_not_the_issuer(tmp_path):
    """The key id differs: it is another certificate. Without key ids the signature decides."""
    stores = {"ca.xml": ca(NAMESAKE), "my.xml": store("My", [LEAF])}
    assert chain(analyze(tmp_path / "key id", {**files(), **stores})).result == "issuer-absent"
    stores = {"ca.xml": ca(ISSUING), "my.xml": store("My", [UNSIGNED])}
    found = chain(analyze(tmp_path / "signature", {**files(UNSIGNED), **stores}))
    assert len(found.elements) == 1
    assert found.result == "unknown", "its name is there: absence is not shown"


def test_a_name_written_in_another_way_is_no_absence(tmp_path):
    text = made.certutil(
        "CA",
        "Intermediate",
        [("CN=Old Root", "O=Example Inc, CN=Issuing CA", "AB" * 20)],
        command="C:\\>certutil -store CA",
    )
    report = analyze(tmp_path, {**files(), "ca.txt": text})
    assert (chain(report).result, result(report)) == ("unknown", "possible")


@pytest.mark.parametrize("written", ['CN=Issuing CA, O="Example, Inc."', "CN=Issuing CA, O=Example\\, Inc."])
def test_one_name_in_the_ways_of_windows_and_of_the_rfc(tmp_path, written):
    text = made.certutil("CA", "x", [("CN=Old Root", written, "AB" * 20)], command="C:\\>certutil -store CA")
    found = chain(analyze(tmp_path, {**files(), "ca.txt": text, "my.xml": store("My", [LEAF])}))
    assert len(found.elements) == 2


def test_german_text(tmp_path):
    text = GERMAN_CA.replace("\n", "\r\n")
    report = analyze(tmp_path, {**files(), "ca.txt": text.encode("cp850")})
    assert (result(report), chain(report).result) == ("probable", "issuer-absent")


def test_a_check_that_passed_beats_the_store(tmp_path):
    """Windows fetched the issuer: the store lacks it, and the chain was built."""
    report = analyze(tmp_path, {**files(check="0"), "ca.xml": ca(OLD_ROOT)})
    assert (chain(report).result, chain(report).signals) == ("issuer-absent", ())
    assert result(report) in ("contradicted", "no-evidence")


def test_a_company_root_that_may_be_missing_is_no_missing_intermediate(tmp_path):
    leaf = made.make("mail.servername.com", "Corp Root CA", names=NAMES)
    data = {SEND_FILE: _send(cert(leaf, issuer="Corp Root CA")).encode(), "my.xml": store("My", [leaf]), "ca.xml": ca()}
    report = analyze(tmp_path, data)
    assert "store_lacks_issuer" not in chain(report).signals


# --------------------------------------------------------------------------------------------------- other causes


def test_two_certificates_of_one_name(tmp_path):
    renewed = made.make("mail.servername.com", "Other CA", names=NAMES)
    report = analyze(tmp_path, {**files(check=""), "my.xml": store("My", [LEAF, renewed])})
    assert chain(report).same_name == (made.thumbprint(renewed),)


def test_a_certificate_that_has_expired_by_the_days_of_certutil(tmp_path):
    """The dates are local without a zone: a day of slack, and at the border nothing is said."""
    subject = ('CN=Issuing CA, O="Example, Inc."', 'CN=mail.servername.com, O="Example, Inc."', made.thumbprint(LEAF))
    text = made.certutil("My", "Personal", [subject])
    for number, (day, signals) in enumerate([("11/13/2016", True), ("12/1/2016", False), ("12/13/2016", False)]):
        dated = text.replace("1/13/2019 1:00 AM", f"{day} 1:00 AM").replace("1/1/2016 1:00", "1/13/2016 1:00")
        report = analyze(tmp_path / str(number), {**files(check=""), "my.txt": dated})
        assert ("store_certificate_expired" in chain(report).signals) is signals, day


def test_no_private_key_of_the_certificate_that_the_connector_names(tmp_path):
    """No certificate was sent: the one that the Send connector names has no key."""
    from samples.causes import credential_unusable

    data = {name: content for name, content in credential_unusable().items() if name.endswith(".LOG")}
    connector = {
        "Name": "Outbound to Office 365",
        "TlsCertificateName": "<I>CN=Issuing CA<S>CN=mail.servername.com",
    }
    import json

    entry = ("CN=Issuing CA", "CN=mail.servername.com", "AB" * 20, "No key provider information")
    data |= {"send.json": json.dumps(connector).encode(), "my.txt": made.certutil("My", "Personal", [entry])}
    report = analyze(tmp_path, data)
    found = chain(report)
    assert (found.basis, found.key.present) == ("connector", False)
    assert "store_no_private_key" in found.signals


def test_a_root_that_no_store_trusts(tmp_path):
    own = {"A43489159A520F0D93D032CCAF37E7FE20A8B419", "3B1EFD3A66EA28B16697394703A72CA340A05BD5"}
    roots = store("Root", []).decode("utf-16")
    more = "".join(
        f'<Obj RefId="1"><MS><S N="PSParentPath">{made.path("LocalMachine", name)}</S><S N="Thumbprint">{mark}</S>'
        f'<S N="Subject">CN={mark[:4]}</S></MS></Obj>'
        for name in ("Root", "AuthRoot")
        for mark in sorted(own)
    )
    roots = roots.replace("</Objs>", f"{more}</Objs>").encode("utf-16")
    stores = {"ca.xml": ca(ISSUING, OLD_ROOT), "root.xml": roots}
    report = analyze(tmp_path, {**files(), **stores})
    assert "store_root_not_trusted" in chain(report).signals
    assert result(report, "untrusted-root") == "probable"
    assert result(report) != "probable"


def test_a_serialized_store_is_named_by_its_file(tmp_path):
    data = {
        "LocalMachine-CA.sst": made.serialized_store([ISSUING]),
        "store-root.sst": made.serialized_store([OLD_ROOT]),
    }
    report = analyze(tmp_path, {**files(), **data, "unnamed.sst": made.serialized_store([OLD_ROOT])})
    assert sorted(store.name for store in report.stores) == ["CA", "Root"]
    assert chain(report).result == "complete"


def test_the_order_of_files_changes_nothing(tmp_path):
    stores = {"a.xml": ca(CROSS, ISSUING), "b.xml": store("Root", [OLD_ROOT, NEW_ROOT]), "c.xml": store("My", [LEAF])}
    turned = dict(zip(stores, reversed(stores.values()), strict=True))
    first = chain(analyze(tmp_path / "1", {**files(), **stores}))
    second = chain(analyze(tmp_path / "2", {**files(), **turned}))
    assert first.elements == second.elements
    assert CAPI2_FILE
