"""No original value survives in any output of a redacted report, and one value has one alias everywhere."""

from __future__ import annotations

import json
import re

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from places import CHECKOUT
from reports import NAMES, as_bytes, as_text, report
from smtp_case import analyze

import evtx_analyzer
from evtx_analyzer.model.findings import Evidence
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.report import SUFFIXES, language
from evtx_analyzer.report.document import to_json
from evtx_analyzer.report.redact import mapping_text, redacted
from samples.cases import LEAF, no_capi2

TEXTS = [suffix for suffix in SUFFIXES if not suffix.endswith("parquet")]
# Words that name nobody: parts of service names, and first labels that every second host has.
PUBLIC = re.compile(
    r"(?i)(?:.*\.)?(?:protection|outlook|onmicrosoft|microsoft)(?:\.com)?|com|net|org|mail|smtp|local|corp|us|de|gb|"
)
EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
IP = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\d)")


def walk(data, key=""):
    if isinstance(data, dict):
        for name, value in data.items():
            yield from walk(value, name)
    elif isinstance(data, list):
        for value in data:
            yield from walk(value, key)
    elif isinstance(data, str):
        yield key, data


def originals(made):
    """What must not survive, taken from the report's fields by this test's own means."""
    found = set()
    for key, text in walk(json.loads(to_json(made))):
        found |= set(EMAIL.findall(text)) | set(IP.findall(text))
        found |= {address.partition("@")[2] for address in EMAIL.findall(text)}
        if key in ("host", "helo", "remote_name", "server_name") and text not in ("same", "assumed", "unknown"):
            found |= {text, text.partition(".")[0], text.partition(".")[2]}
        if key in ("subject", "issuer"):
            # Attribute values of a distinguished name, commas inside of them kept with their value.
            found |= {value.strip() for value in re.split(r",\s*(?=[A-Z]{1,2}=)|^[A-Z]{1,2}=|(?<=, )[A-Z]{1,2}=", text)}
        if key == "alternate_names":
            found.add(text.removeprefix("*."))
    names = {re.sub(r"^[A-Z]{1,2}=", "", item).removeprefix("*.") for item in found}
    return {name for name in names if len(name) > 2 and not PUBLIC.fullmatch(name) and name != "different"}


def survivors(text, values):
    anything = "|".join(re.escape(value.casefold()) for value in sorted(values, key=len, reverse=True))
    found = set(re.findall(f"(?<![0-9a-z])(?:{anything})(?![0-9a-z])", text.casefold()))
    return {value for value in values if value.casefold() in found}


@pytest.mark.parametrize("name", NAMES)
def test_no_original_survives_in_any_output(name):
    made = report(name)
    values = originals(made)
    hidden, _ = redacted(made)
    assert len(values) >= 3
    for suffix in TEXTS:
        assert survivors(as_text(hidden, suffix, language.ENGLISH), values) == set(), suffix
    # A translation takes its values from the English sentence; one output shows them all.
    assert survivors(as_text(hidden, ".md", language.load("de")), values) == set()


@pytest.mark.parametrize("name", ["kb-3212877", "replaced"])
def test_no_original_survives_in_parquet(name):
    pq = pytest.importorskip("pyarrow.parquet")
    import io

    hidden, _ = redacted(report(name))
    for suffix in (".parquet", ".operations.parquet", ".links.parquet"):
        table = pq.read_table(io.BytesIO(as_bytes(hidden, suffix, language.ENGLISH)))
        assert survivors(str(table.to_pylist()), originals(report(name))) == set()


@pytest.mark.parametrize("name", NAMES)
def test_everything_takes_thumbprints_serials_and_key_ids_too(name):
    made = report(name)
    keys = ("thumbprint", "serial", "subject_key_id", "authority_key_id")
    values = {text for key, text in walk(json.loads(to_json(made))) if key in keys and text}
    hidden, _ = redacted(made, everything=True)
    for suffix in (".json", ".html"):
        assert survivors(as_text(hidden, suffix, language.ENGLISH), values) == set(), suffix
    kept, _ = redacted(made)
    assert survivors(to_json(kept), values) == values, "without all, thumbprints stay"


@pytest.mark.parametrize("name", NAMES)
def test_what_the_diagnosis_rests_on_stays(name):
    made = report(name)
    hidden, _ = redacted(made, everything=True)
    assert (hidden.verdict.cause, hidden.verdict.grade) == (made.verdict.cause, made.verdict.grade)
    assert [finding.grade for finding in hidden.findings] == [finding.grade for finding in made.findings]
    assert [operation.result for operation in hidden.operations] == [operation.result for operation in made.operations]
    assert [incident.links for incident in hidden.incidents] == [incident.links for incident in made.incidents]
    assert hidden.options.redact == "all"


def test_one_value_has_one_alias_and_the_map_gives_it_back():
    hidden, back = redacted(report("kb-3212877"))
    refused = hidden.incidents[0].rejections[0]
    assert refused.mail_from == "user1@domain1.example"
    assert back["user1@domain1.example"] == "a@servername.com"
    assert refused.sent.subject.startswith("CN=*.domain1.example, O=org1")
    assert hidden.operations[0].subject == "*.domain1.example"
    assert refused.host == "host1"
    assert hidden.coverage[0].host == "host1.domain1.example"
    assert refused.remote_name.endswith(".mail.protection.outlook.com")
    assert json.loads(mapping_text(back)) == back


def test_names_in_paths_and_in_free_text_are_replaced():
    made = report("kb-3212877")
    origin = Origin(source="CORP-SMTP1_logs/contoso case.zip", member="SmtpSend/SEND2016120103-1.LOG", line=3)
    loss = Loss(origin=origin, reason="reading CORP-SMTP1_logs/contoso case.zip stopped", extent="at 10.10.248.7")
    said = replace(made.findings[0], supports=(Evidence(text="seen on corp-smtp1.servername.com", origin=origin),))
    hidden, _ = redacted(replace(made, losses=(loss,), findings=(said,)))
    text = to_json(hidden)
    assert survivors(text, {"CORP-SMTP1", "contoso", "servername", "10.10.248.7"}) == set()
    assert hidden.losses[0].origin.member == "SmtpSend/SEND2016120103-1.LOG"
    assert hidden.losses[0].origin.source.endswith(".zip")
    assert hidden.findings[0].supports[0].text == "seen on host1.domain1.example"


def test_tenant_names_go_and_the_service_stays():
    made = report("kb-3212877")
    refused = replace(
        made.incidents[0].rejections[0],
        remote_name="fourthcoffee-com.mail.protection.outlook.com",
        rcpt_to="x@fourthcoffee.onmicrosoft.com",
        reply="550 5.7.64 TenantAttribution; Relay Access Denied [fourthcoffee.mail.protection.outlook.com] "
        "2603:10a6::1",
    )
    hidden, _ = redacted(replace(made, incidents=(replace(made.incidents[0], rejections=(refused,)),)))
    text = to_json(hidden)
    assert "fourthcoffee" not in text.casefold()
    assert "2603:10a6" not in text
    assert ".onmicrosoft.com" in text
    assert "TenantAttribution; Relay Access Denied" in text


def test_redacting_twice_changes_no_name_back():
    once, _ = redacted(report("kb-3212877"), everything=True)
    twice, _ = redacted(once, everything=True)
    assert survivors(to_json(twice), originals(report("kb-3212877"))) == set()


def test_command_line_writes_the_map_only_where_asked(tmp_path, run):
    case = CHECKOUT / "samples" / "kb-3212877"
    out, names = tmp_path / "report.json", tmp_path / "map.json"
    result = run("analyze", "--redact", case, "-o", out, "--redact-map", names)
    assert result.returncode == 1
    assert b"CORP-SMTP1" not in result.stdout + out.read_bytes()
    assert json.loads(names.read_bytes())["host1"] == "CORP-SMTP1"
    bare = run("analyze", case, "--redact-map", names)
    assert bare.returncode == 2
    assert b"--redact-map needs --redact" in bare.stderr


@pytest.mark.parametrize("name", ["app01", "APP01.servername.com", "*.servername.com"])
def test_the_certificate_that_a_reply_names_gets_an_alias(name):
    text = f"550 5.7.64 TenantAttribution; Relay Access Denied  {name} is untrustedroot."
    made = report("no-capi2")
    incidents = tuple(
        replace(
            incident,
            rejections=tuple(
                replace(rejection, reply=text, certificate_name=name) for rejection in incident.rejections
            ),
        )
        for incident in made.incidents
    )
    clean = to_json(redacted(replace(made, incidents=incidents))[0])
    assert not re.search(r"app01|servername", clean, re.IGNORECASE)
    assert "is untrustedroot." in clean


# ------------------------------------------------------------------------------------- names that nobody foresaw

LETTERS = "gjkqvwxz"  # neither vowels nor hex digits: no label is a word of a report, or in a digest
LABEL = st.text(LETTERS, min_size=4, max_size=9)


def texts_of_a_case(company, host, user, authority):
    """Files of a sample with every name in them replaced."""
    for file in sorted((CHECKOUT / "samples" / "name-mismatch").rglob("*.*")):
        text = file.read_bytes().decode()
        for old, new in (("CORP-SMTP1", host), ("Example Trust", authority), ("ServerName", company)):
            text = text.replace(old, new).replace(old.lower(), new.lower())
        text = re.sub(r"(?<![\w.])a@", f"{user}@", text)
        yield f"{host}/{file.relative_to(CHECKOUT / 'samples/name-mismatch').as_posix()}", text


def with_addresses(made, host, company, authority):
    """The report of a case whose authority is published inside of the house."""
    url = f"http://{host}-pki.ad.{company}.local/CertEnroll/{host}-pki_{authority}%20CA.crt"
    directory = f"ldap:///CN={authority}%20CA,CN=AIA,DC={company},DC=local?cACertificate"
    where = Origin(source=f"{company} logs/{host}.zip", member=f"{host}/capi2.evtx", record=1)
    evidence = Evidence(text=f"not found: CN={authority} TLS CA 2016, published at {url}, {directory}.", origin=where)
    checks = tuple(
        replace(
            operation, missing_issuer_urls=(url, directory), user=f"{company}\\{host}", target=f"{authority} CA.crl"
        )
        for operation in made.operations
    )
    best = replace(made.findings[0], supports=(evidence, *made.findings[0].supports))
    lost = Loss(origin=where, reason=f"{company} logs/{host}.zip cannot be opened", extent="1 file")
    return replace(made, operations=checks, findings=(best, *made.findings[1:]), losses=(lost,))


@settings(max_examples=examples(5))
@given(st.lists(LABEL, min_size=4, max_size=4, unique=True), st.booleans())
def test_no_label_of_any_name_of_the_input_is_in_any_output(tmp_path_factory, labels, everything):
    company, host, user, authority = labels
    folder = tmp_path_factory.mktemp("case")
    for name, text in texts_of_a_case(company, host, user, authority):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8", newline="")
    made = with_addresses(evtx_analyzer.analyze(folder), host, company, authority)
    assert made.rejection_count
    before = to_json(made).casefold()
    assert all(label in before for label in labels)
    hidden, _ = redacted(made, everything=everything)
    for suffix in TEXTS:
        for code in ("en", "de") if suffix in (".html", ".md", ".txt") else ("en",):
            text = as_text(hidden, suffix, language.load(code)).casefold()
            assert [label for label in labels if label in text] == [], suffix


def test_addresses_of_microsoft_stay_and_no_word_of_theirs_becomes_a_tenant():
    made = report("attr36")
    said = "See https://go.microsoft.com/fwlink/?LinkId=1 and smarthost contoso-com.mail.protection.outlook.com."
    refused = replace(made.incidents[0].rejections[0], remote_name="x.protection.outlook.com")
    incidents = (replace(made.incidents[0], rejections=(refused,)),)
    findings = (replace(made.findings[0], supports=(Evidence(text=said, origin=None),)),)
    hidden, back = redacted(replace(made, incidents=incidents, findings=findings))
    assert "https://go.microsoft.com/fwlink/?LinkId=1" in hidden.findings[0].supports[0].text
    assert "mail.protection.outlook.com" in hidden.findings[0].supports[0].text
    assert "protection" not in {value.casefold() for value in back.values()}


def test_a_folder_that_is_a_host_has_the_alias_of_the_host():
    made = report("kb-3212877")
    where = Origin(source="CORP-SMTP1/SEND.LOG", line=1)
    hidden, _ = redacted(replace(made, losses=(Loss(origin=where, reason="cut", extent="1 row"),)))
    assert hidden.losses[0].origin.source.startswith(f"{hidden.incidents[0].host}/")


def test_a_folder_of_a_common_name_changes_no_sentence():
    made = report("kb-3212877")
    where = Origin(source="mail/case/capi2.evtx", record=1)
    hidden, _ = redacted(replace(made, losses=(Loss(origin=where, reason="x", extent="y"),)))
    assert "mail/case" not in hidden.losses[0].origin.source
    assert "relaying is refused" in hidden.findings[0].why
    assert hidden.findings[0].title == made.findings[0].title


def test_new_parts_of_a_report_are_redacted_too():
    from evtx_analyzer.model.findings import IncidentRepair, Repair
    from evtx_analyzer.model.handshake import Handshake, WireCertificate
    from evtx_analyzer.model.stores import Store

    made = report("kb-3212877")
    where = Origin(source="dmzgate/trace.pcapng", offset=1)
    wire = WireCertificate(thumbprint="AB" * 20, subject="CN=dmzgate.fourthcoffee.com", issuer="CN=Coffee Root")
    handshake = Handshake(
        id="H-1",
        start=made.incidents[0].start,
        local="10.9.8.7:1234",
        remote="203.0.113.9:25",
        tls="TLS 1.2",
        requested=True,
        sent=(wire,),
        received=(),
        alert="",
        rejection=None,
        origin=where,
    )
    changed = Evidence(text="dmzgate.fourthcoffee.com is accepted", origin=where)
    part = IncidentRepair(incident="I-1", cause="missing-intermediate", result="fixed", changed=(changed,))
    store = Store(name="My", host="dmzgate", certificates=(), origin=where)
    repair = Repair(result="fixed", incidents=(part,))
    hidden, _ = redacted(replace(made, handshakes=(handshake,), stores=(store,), repair=repair))
    for suffix in TEXTS:
        text = as_text(hidden, suffix, language.ENGLISH).casefold()
        for name in ("dmzgate", "fourthcoffee", "coffee root", "10.9.8.7", "203.0.113.9"):
            assert name not in text, suffix
    assert hidden.repair.result == "fixed"
    assert hidden.stores[0].name == "My"


FIGURES = ("2016", "12", "201612", "2016-12-01", "03-09", "03.09.2016", "5764")


@pytest.mark.parametrize("name", FIGURES)
def test_a_folder_a_serial_number_and_a_connector_of_figures_change_no_time(tmp_path, name):
    """A folder for each year or day is common; the times of all fields and sentences hold the same figures."""
    files = {f"{name}/{path}": data for path, data in no_capi2().items()}
    log = {path: data.replace(b"Outbound to Office 365", name.encode()) for path, data in files.items()}
    log = {path: data.replace(LEAF.serial.encode(), name.encode()) for path, data in log.items()}
    report = analyze(tmp_path, log)
    hidden, originals = redacted(report, everything=True)
    assert [incident.start for incident in hidden.incidents] == [incident.start for incident in report.incidents]
    assert "2016-12-01 03:09:55.774 UTC" in hidden.verdict.summary
    assert "5.7.64" in hidden.verdict.summary
    assert {originals[incident.connector] for incident in hidden.incidents} == {name}
    assert not any(f"{name}/" in source.path for source in hidden.sources)
