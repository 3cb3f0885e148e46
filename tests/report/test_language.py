"""Reports in another language: the catalogues are complete, sentences keep their values, user data is not touched."""

from __future__ import annotations

import ast
import re
import string
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
import yaml
from reports import NAMES, report

import evtx_analyzer
from evtx_analyzer import clock, pipeline
from evtx_analyzer.batch import outcome
from evtx_analyzer.batch.summary import OUTCOME_NAMES, Change
from evtx_analyzer.commands import COMMAND
from evtx_analyzer.errors import OptionError
from evtx_analyzer.model.evidence import HostBasis, HostRelation, LinkBasis
from evtx_analyzer.model.findings import Grade, Status
from evtx_analyzer.model.origin import TimeBasis
from evtx_analyzer.report import language
from evtx_analyzer.report.document import to_json
from evtx_analyzer.report.language import flat
from evtx_analyzer.report.merged import PLACES
from evtx_analyzer.report.outline import INCIDENT_TITLES, PAIR_TITLES, reference
from evtx_analyzer.report.shared import COMMON_TITLES, HANDSHAKE_TITLES, REPAIRS, STORE_TITLES, STORES, TRAITS
from evtx_analyzer.report.terminal import to_terminal
from evtx_analyzer.report.timeline import LANES
from evtx_analyzer.rules import Rules
from evtx_analyzer.rules.files import builtin_rules

PACKAGE = Path(evtx_analyzer.__file__).parent
OTHERS = [code for code in language.LANGUAGES if code != "en"]
NAME = re.compile(r"\$(?:\{([a-z_]+)\}|([a-z_]+))")


def names_of(text):
    return {a or b for a, b in NAME.findall(text.replace("$$", ""))}


def documents(code):
    for file in (
        PACKAGE / "report" / "languages" / f"{code}.yml",
        builtin_rules().joinpath("translations", f"{code}.yml"),
    ):
        yield file, yaml.safe_load(file.read_text("utf-8"))


def labels():
    """Every text that a template or a renderer asks for by name, and the fixed words of the report."""
    for path in sorted(PACKAGE.rglob("*.j2")):
        yield from re.findall(r'_\(\s*"([^"]+)"', path.read_text("utf-8"))
    for path in sorted((PACKAGE / "report").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say" and node.args:
                yield from (part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant))
    yield from (title for _, title in LANES)
    yield from (*COMMON_TITLES, *TRAITS.values(), *HANDSHAKE_TITLES, *STORE_TITLES, *STORES.values(), *REPAIRS.values())
    yield from (*PAIR_TITLES, *INCIDENT_TITLES)
    yield from (form for _, *forms in PLACES for form in forms)
    yield from (*OUTCOME_NAMES.values(), *set(get_args(Change)) - {""}, "gone", "failed")
    for words in (Grade, Status, LinkBasis, HostRelation, HostBasis):
        yield from get_args(words)


def rule_texts():
    for cause in Rules.load().causes:
        yield from (cause.title, cause.why)
        yield from (step.text for step in (*cause.steps, *cause.verify))
        yield from (
            text for observation in cause.observations for text in (observation.supports, observation.contradicts)
        )
        yield from (missing_rule.text for missing_rule in cause.missing)
        yield from (step.text for missing_rule in cause.missing for step in missing_rule.collect)
        # A title that has no English word in it is a name: ``KB 3212877``, ``New-InboundConnector``.
        titles = (reference(text, language.ENGLISH).text for text in cause.references)
        yield from (title for title in titles if re.search(r"\b[a-z]{3,}\b", title))


@pytest.mark.parametrize("code", OTHERS)
def test_every_label_is_translated(code):
    say = language.load(code)
    missing = {text for text in labels() if isinstance(text, str)} - set(say.catalogue.labels)
    assert not missing, f"add to evtx_analyzer/report/languages/{code}.yml, labels: {sorted(missing)}"


@pytest.mark.parametrize("code", OTHERS)
def test_every_reason_of_a_batch_is_translated(code):
    say = language.load(code)
    reasons = [outcome.DIED, outcome.KILLED, outcome.NO_WORKERS, outcome.NO_ROOM, outcome.overdue(60)]
    reasons += [outcome.out_of_memory(1 << 30), outcome.out_of_memory(None), *OUTCOME_NAMES.values()]
    reasons += [
        "this program failed on it (ValueError: x); please report this",
        "missing-intermediate probable, 1 refusal",
    ]
    assert [reason for reason in reasons if reason != "refusals found" and not say.knows(reason)] == []


@pytest.mark.parametrize("code", OTHERS)
def test_every_rule_text_is_translated(code):
    say = language.load(code)
    texts = dict.fromkeys(
        flat(rule_text) for rule_text in rule_texts() if rule_text and not rule_text.startswith(COMMAND)
    )
    missing = [text for text in texts if text not in say.catalogue.sentences]
    assert not missing, f"add to rules/translations/{code}.yml, sentences:\n" + "\n".join(missing)


@pytest.mark.parametrize("code", OTHERS)
def test_no_translation_of_a_rule_text_is_left_over(code):
    texts = {flat(rule_text) for rule_text in rule_texts()}
    _, document = list(documents(code))[1]
    unused = [flat(pair["en"]) for pair in document["sentences"] if flat(pair["en"]) not in texts]
    assert not unused, f"remove from rules/translations/{code}.yml, or correct the English text:\n" + "\n".join(unused)


@pytest.mark.parametrize("code", OTHERS)
def test_pairs_are_well_formed_and_carry_the_same_names(code):
    for file, document in documents(code):
        assert set(document) <= {"numbers", "labels", "sentences", "phrases"}, file
        assert set(document.pop("numbers", ("decimal", "group"))) == {"decimal", "group"}
        for section, pairs in document.items():
            assert [item for item, count in Counter(flat(pair["en"]) for pair in pairs).items() if count > 1] == []
            for pair in pairs:
                assert set(pair) == {"en", code}, f"{file} {section}: {pair} (quote a text with a comma or a colon)"
                assert names_of(pair["en"]) == names_of(pair[code]), f"{file} {section}: {pair['en']}"
                assert string.Template(pair[code]).is_valid()


@pytest.mark.parametrize("code", OTHERS)
def test_every_sentence_is_recognized_and_keeps_its_values(code):
    """Each template, filled with odd values, comes back as its own translation with the same values in it."""
    say = language.load(code)
    values = {name: f"\u00ab{name}, (x); to y.\u00bb" for text in say.catalogue.sentences for name in names_of(text)}
    values |= {"count": "7", "number": "-0.5", "result": "800B0109", "result_name": "CERT_E_EXPIRED"}
    values |= {"thumbprint": "AB" * 20, "process": "lsass.exe", "cause": "x-y", "remote": "mx.contoso.com"}
    values |= {"seen_address": "203.0.113.7", "queue": "EX01\\4"}
    values |= dict.fromkeys(("start", "end", "rejection_time", "refusal_times"), "2016-12-01 03:09:55.774 UTC")
    values["store_thumbprint"] = "CD" * 20
    translated_values = {**values, "number": "-0,5"}
    for english, translated in say.catalogue.sentences.items():
        filled = string.Template(english).substitute(values)
        assert say.sentence(filled) == string.Template(translated).substitute(translated_values)


def said(made):
    """Every sentence of a report that a reader sees."""
    yield from (other_error.meaning for other_error in made.other_errors)
    yield from (item.title for item in made.context)
    yield from (made.verdict.title, made.verdict.summary)
    for finding in made.findings:
        yield from (finding.title, finding.why)
        yield from (part.text for part in (*finding.supports, *finding.contradicts))
        yield from (text for part in finding.missing for text in (part.text, *part.collect))
        yield from (*finding.remedy.steps, *finding.remedy.verify) if finding.remedy else ()
    yield from (note for span in made.coverage for note in span.notes)
    yield from (text for loss in made.losses for text in (loss.reason, loss.extent))
    yield from (source.reason for source in made.sources)


@pytest.mark.parametrize("code", OTHERS)
@pytest.mark.parametrize("name", NAMES)
def test_every_sentence_of_every_case_is_translated(name, code):
    say = language.load(code)
    texts = [item for item in said(report(name)) if item and not item.startswith(COMMAND)]
    missing = [text for text in texts if not say.knows(text)]
    assert not missing, f"add a template to evtx_analyzer/report/languages/{code}.yml, sentences:\n" + "\n".join(
        missing
    )


BOUNCE = """Date: Thu, 01 Dec 2016 03:09:58 +0000
Content-type: multipart/report; report-type=delivery-status; boundary="B1"

--B1
Content-type: text/plain

It said: 550 5.7.64 TenantAttribution

--B1
Content-type: message/delivery-status

Final-recipient: rfc822;a@contoso.com
Status: 4.4.7

Final-recipient: rfc822;b@contoso.com
Status: 4.4.7

--B1--
"""
TRACKED = (
    "#Log-type: Message Tracking Log\r\n#Fields: date-time,source,event-id,recipient-address,recipient-status\r\n"
    "2016-12-01T03:09:55.801Z,SMTP,DEFER,b@contoso.com,550 5.7.64 TenantAttribution; Relay Access Denied\r\n"
)
ATTACHED = (
    "From: a@b.c\nTo: d@e.f\nSubject: logs\nContent-Type: multipart/mixed; boundary=b\n\n--b\n"
    "Content-Type: application/octet-stream; name=SEND.LOG\n\nx\n--b--\n"
)
LOST = {
    "a report that names no recipient": {"bounce.eml": BOUNCE},
    "a deferred message": {"MSGTRK.LOG": TRACKED},
    "CAPI2 as JSON": {"events.json": '[{"ProviderName": "Microsoft-Windows-CAPI2", "Id": 30}]'},
    "damaged JSON": {"events.json": '{"ProviderName": "Microsoft-Windows-CAPI2", "Id"'},
    "an event without System": {"event.xml": "<Event><UserData/></Event>"},
    "a table": {"send.txt": "Identity  AddressSpaces\n--------  -------------\nOutbound  {smtp:*;1}\n"},
    "a zeroed export": {"capi2.evtx": "\0" * 8192},
    "an empty log": {"SEND1.LOG": ""},
    "a beheaded event log": {"system.evtx": "no event log" * 99},
    "deep JSON": {"deep.json": '[{"a":' + "[" * 9_000},
    "deep mail": {
        "deep.eml": "From: a@b.c\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n"
        + "Content-Type: message/rfc822\n\n" * 1_500
    },
    "an old event log": {"old.evt": "0\0\0\0LfLe" + "\0" * 99},
    "a mailbox file": {"ndr.pst": "!BDN" + "x" * 99},
    "a shortcut": {"SEND.url": "[InternetShortcut]\nURL=x"},
    "a RAR archive": {"logs.rar": "Rar!\x1a\7" + "\0" * 99},
    "a page of events": {"e.htm": "<td>Microsoft-Windows-CAPI2</td>"},
    "event XML with typographic quotes": {
        "e.xml": "<Event xmlns=\u201dx\u201d><System>Microsoft-Windows-CAPI2</System></Event>"
    },
    "a mail with attachments that is not unpacked": {"a.eml": f"Strange: x\n{ATTACHED}"},
    "a message trace": {"t.csv": "MessageTraceId,RecipientAddress,Subject\nx,b@y,550 5.7.64 Relay Denied\n"},
    "rows of Splunk without their header": {
        "s.json": '{"_raw":"2016-12-01 03:09:55 1.2.3.4 OutboundConnectionResponse SMTPSVC1 E - - 550+5.7.64"}'
    },
    "a mail that quotes the refusal": {
        "a.eml": ATTACHED.partition("Content-Type")[0] + "\n550 5.7.64 TenantAttribution\n"
    },
    "a queue": {"queue.csv": '"Identity","NextHopDomain","LastError"\r\n"EX01\\4","x.y","550 5.7.64 Relay Denied"\r\n'},
    "an unknown log": {"mail.log": "host said: 550 5.7.64\n"},
    "an unknown Exchange log": {"AGENT.LOG": "#Log-type: Agent Log\r\n#Fields: a,b\r\nx,550 5.7.64\r\n"},
}


@pytest.mark.parametrize("code", OTHERS)
@pytest.mark.parametrize("files", LOST.values(), ids=LOST)
def test_what_could_not_be_read_is_told_in_every_language(files, code, tmp_path):
    say = language.load(code)
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode())
    made = pipeline.analyze(tmp_path, anyway=True)
    assert made.losses
    assert [text for text in said(made) if text and not text.startswith(COMMAND) and not say.knows(text)] == []


def test_values_of_a_case_stay_and_are_not_translated():
    text = to_terminal(report("kb-3212877"), language.load("de"))
    flowing = " ".join(text.split())
    assert "Eine Testnachricht über Outbound to Office 365" in flowing.replace("Senden Sie eine", "Eine")
    assert "CN=*.ServerName.com, O=ServerName Corp., L=Redmond, S=Washington, C=US" in flowing
    assert "0,255 s nach Beginn des TLS-Handshakes" in flowing
    assert not any(line.lstrip().startswith(COMMAND) for line in text.splitlines())
    assert r"-CertStoreLocation cert:\LocalMachine\CA" in text


@pytest.mark.parametrize("code", OTHERS)
@pytest.mark.parametrize("first", get_args(TimeBasis))
@pytest.mark.parametrize("last", get_args(TimeBasis))
def test_times_of_every_basis_are_translated_inside_of_a_sentence(code, first, last):
    say = language.load(code)
    early, late = datetime(2026, 3, 10, 9, 14, 2, tzinfo=UTC), datetime(2026, 3, 10, 9, 20, tzinfo=UTC)
    span = clock.span_text(clock.Moment(early, first), clock.Moment(late, last), 3)
    claim = "No cause is supported well enough to be named; what to collect next is listed."
    limits = f"{clock.in_sentence(early, first)} to {clock.in_sentence(late, last)}"
    texts = [
        f"2 refusals with 5.7.64 on EX01, {span}. {claim}",
        f"On A a TLS negotiation failed within the ten minutes before {clock.in_sentence(early, first)} (SocketError).",
        f"The CAPI2 export covers {span}; the refusals ({limits}) lie outside of it.",
    ]
    for text in texts:
        translated = say.sentence(text)
        assert translated != text
        assert "2026-03-10 09:14:02" in translated
        for remark in {clock.remark(first), clock.remark(last), "at a time that is not known"} - {""}:
            assert remark not in translated


def test_json_is_the_same_in_every_language():
    from evtx_analyzer.report import SUFFIXES

    assert SUFFIXES[".json"](report("kb-3212877"), language.load("de")) == to_json(report("kb-3212877")).encode()


def test_an_unknown_sentence_stays_english():
    assert language.load("de").sentence("Something new was found.") == "Something new was found."


def test_an_unknown_language_is_told():
    with pytest.raises(OptionError, match="expected one of en, de"):
        language.load("fr")


def test_own_rules_bring_their_own_translations(tmp_path):
    (tmp_path / "translations").mkdir()
    pair = "sentences: [{en: 'My $subject is wrong.', de: 'Mein $subject ist falsch.'}]"
    (tmp_path / "translations" / "de.yml").write_text(pair, "utf-8")
    assert language.load("de", tmp_path).sentence("My CN=x is wrong.") == "Mein CN=x ist falsch."
