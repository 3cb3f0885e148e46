"""A saved report is bounded, whatever the input repeats; counts stay true, and what is not listed is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import msgspec
import pytest
import reports
from msgspec.structs import replace

import evtx_analyzer as ea
from evtx_analyzer.batch.summary import merge
from evtx_analyzer.correlate.excerpt import kind_of
from evtx_analyzer.errors import ReportError
from evtx_analyzer.model.findings import SourceStatus
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.report import SUFFIXES, bounds, language
from evtx_analyzer.report.document import loads, to_json, without_folded
from samples import capi2, cases
from samples.capi2 import PARTIAL_CHAIN, Recorder
from samples.smtp import REFUSAL, SEND_HEADER, SendSession, send_log


@pytest.fixture
def small(monkeypatch):
    """Limits that a test can go over."""
    for name, limit in {
        "incidents": 5, "rejections": 60, "names": 40, "operations": 12, "deliveries": 5, "losses": 8, "sources": 6,
        "coverage": 6, "certificates": 10, "other_errors": 4, "elements": 3, "handshakes": 3, "stores": 2,
    }.items():  # fmt: skip
        monkeypatch.setitem(bounds.MOST, name, limit)


def saved(report):
    return loads(to_json(report).encode(), "x.json")


def analyzed(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return ea.analyze(folder)


def told(report):
    return {item.list: (item.listed, item.count) for item in report.not_listed}


def checks(count, *, seed=str, gap=20):
    """That many failed checks of the certificate, the last one at the time of the refusal."""
    recorder = Recorder(cases.HOST, next_record=4000)
    for number in range(count):
        time = cases.KB_TIME - timedelta(milliseconds=gap * (count - 1 - number))
        capi2.check(
            recorder, time, [(cases.LEAF, 0)], seed=seed(number),
            policy_result="800B0109", chain_result="800B010A", chain_error=PARTIAL_CHAIN,
        )  # fmt: skip
    return "\r\n".join(recorder.events)


def refused(number, connector="Outbound", sender="a@servername.com"):
    start = cases.KB_TIME + timedelta(seconds=number)
    session = SendSession(start, f"{number:016X}", connector=connector).connect().starttls(cases.LEAF)
    return session.message(700, sender, [("b@fabrikam.com", REFUSAL)], number).quit(900)


# ------------------------------------------------------------------------------------------------- every list


def test_an_ordinary_report_is_whole():
    for name in reports.NAMES:
        assert saved(reports.report(name)).not_listed == ()


@pytest.mark.usefixtures("small")
def test_checks_that_are_alike_are_listed_in_part_and_those_of_refusals_always(tmp_path):
    report = analyzed(tmp_path, {cases.SEND_FILE: cases._send(), "capi2.xml": checks(40)})
    assert len(report.operations) == 40
    short = saved(report)
    linked = {link.operation for incident in report.incidents for link in incident.links}
    assert linked
    assert linked <= {operation.id for operation in short.operations}
    assert told(short)["operations"] == (12, 40) == (len(short.operations), len(report.operations))
    # The first and the last one tell the span.
    assert {report.operations[0].id, report.operations[-1].id} <= {operation.id for operation in short.operations}
    assert (short.verdict, short.findings[0].grade) == (report.verdict, report.findings[0].grade)


@pytest.mark.usefixtures("small")
def test_losses_keep_one_of_each_kind_and_their_number(tmp_path):
    rows = "".join(
        f"2016-13-01T00:00:{n:02}Z,Outbound,A,{n},1.1.1.1:1,2.2.2.2:25,<,550 5.7.64 x,\r\n" for n in range(30)
    )
    logs = [SEND_HEADER.format(date="2016-12-01T00:00:00.000Z") + rows.replace("Outbound", name) for name in "AB"]
    report = analyzed(tmp_path, {"a/S.LOG": logs[0], "b/S.LOG": logs[1], cases.SEND_FILE: cases._send()})
    assert len(report.losses) >= 60
    short = saved(report)
    assert (len(short.losses), short.loss_count) == (8, len(report.losses))
    assert {loss.origin.source for loss in short.losses} == {loss.origin.source for loss in report.losses}
    assert merge([short]).rows[0].loss_count == merge([report]).rows[0].loss_count == len(report.losses)


@pytest.mark.usefixtures("small")
def test_incidents_keep_the_largest_and_all_sums(tmp_path):
    sessions = [refused(number, f"Outbound {number}") for number in range(20)]
    sessions += [refused(100 + number, "Outbound 7") for number in range(5)]
    report = analyzed(tmp_path, {cases.SEND_FILE: send_log(sessions)})
    assert len(report.incidents) == 20
    short = saved(report)
    assert len(short.incidents) == 5
    assert "Outbound 7" in {incident.connector for incident in short.incidents}
    assert (short.rejection_count, short.incident_count) == (report.rejection_count, 20) == (25, 20)
    assert merge([short]).rows[0].rejection_count == 25
    assert {name for finding in short.findings for name in finding.incidents} <= {
        incident.id for incident in short.incidents
    }
    assert told(short)["deliveries"] == (5, len(report.deliveries))


@pytest.mark.usefixtures("small")
def test_an_incident_keeps_a_refusal_of_each_kind(tmp_path, monkeypatch):
    """``verify`` compares later mail with each kind of refused mail: a kind that is not listed would be none."""
    monkeypatch.setattr(bounds, "MOST_KINDS", 10)
    monkeypatch.setitem(bounds.MOST, "rejections", 10)
    sessions = [refused(number, sender=f"a@{'x' if number == 77 else 'servername'}.com") for number in range(120)]
    report = analyzed(tmp_path, {cases.SEND_FILE: send_log(sessions)})
    (whole,), (short,) = report.incidents, saved(report).incidents
    assert len(whole.rejections) == 120
    assert len(short.rejections) == 10
    assert set(map(kind_of, short.rejections)) == set(map(kind_of, whole.rejections))
    assert short.folded_count + len(short.rejections) == short.rejection_count == 120
    assert (short.rejections[0], short.rejections[-1]) == (whole.rejections[0], whole.rejections[-1])
    assert {link.rejection for link in short.links} <= {rejection.id for rejection in short.rejections}


@pytest.mark.usefixtures("small")
def test_sources_keep_those_that_could_not_be_read():
    made = reports.report("kb-3212877")
    read: list[Literal["read", "not-read", "partial"]] = ["read"]
    statuses = read * 20
    statuses += ["not-read", "partial"]
    many = [
        SourceStatus(path=f"{n:02}.log", kind="send-connector", sha256="", size=1, status=status, reason="")
        for n, status in enumerate(statuses)
    ]
    short = saved(replace(made, sources=tuple(many)))
    assert {"not-read", "partial"} <= {source.status for source in short.sources}
    assert [source.path for source in short.sources] == sorted(source.path for source in short.sources)
    assert (len(short.sources), short.source_count) == (6, 22)


@pytest.mark.usefixtures("small")
def test_certificates_of_stores_are_counted():
    made = reports.report("stores-missing-intermediate")
    store = made.stores[0]
    stores = tuple(replace(store, certificates=store.certificates * 30) for _ in range(2))
    short = saved(replace(made, stores=stores))
    listed, count = told(short)["stores[].certificates"]
    assert count == 60 * len(store.certificates)
    assert listed == sum(len(item.certificates) for item in short.stores) < count


@pytest.mark.usefixtures("small")
def test_a_long_chain_keeps_its_ends():
    made = reports.report("kb-3212877")
    operation = made.operations[0]
    elements = tuple(replace(operation.elements[0], thumbprint=f"{n:040X}") for n in range(50))
    short = saved(replace(made, operations=(replace(operation, elements=elements),)))
    assert [element.thumbprint[-2:] for element in short.operations[0].elements] == ["00", "01", "31"]
    assert any("of the 50 certificates" in note for note in short.operations[0].notes)


# ------------------------------------------------------------------------------------------------- the whole


def test_limits_are_halved_until_the_report_is_short_enough(tmp_path, monkeypatch):
    report = analyzed(tmp_path, {cases.SEND_FILE: cases._send(), "capi2.xml": checks(60)})
    long = to_json(report)
    monkeypatch.setattr(bounds, "MOST_BYTES", len(long) // 2)
    short = to_json(report)
    assert len(short) <= len(long) // 2
    assert told(saved(report))["operations"][1] == 60


def test_a_very_long_text_is_cut_last(monkeypatch):
    made = reports.report("kb-3212877")
    (incident,) = made.incidents[:1]
    long = replace(incident.rejections[0], reply="x" * 3_000_000)
    many = replace(made, incidents=(replace(incident, rejections=(long,) * 5, links=()),))
    from evtx_analyzer.report import document

    for module in (bounds, document):
        monkeypatch.setattr(module, "MOST_BYTES", 1_000_000)
    text = to_json(many)
    assert len(text) < 1_000_000
    assert "more characters]" in text
    assert loads(text.encode(), "x.json").rejection_count == incident.rejection_count


@pytest.mark.usefixtures("small")
def test_saving_a_saved_report_again_changes_nothing(tmp_path):
    report = analyzed(tmp_path, {cases.SEND_FILE: cases._send(), "capi2.xml": checks(40)})
    once = to_json(report)
    assert to_json(saved(report)) == once


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("suffix", [".html", ".txt", ".md"])
@pytest.mark.parametrize("code", ["en", "de"])
def test_a_report_that_was_read_again_says_what_it_lacks(tmp_path, suffix, code):
    report = analyzed(tmp_path, {cases.SEND_FILE: cases._send(), "capi2.xml": checks(40)})
    say = language.load(code)
    text = SUFFIXES[suffix](saved(report), say)
    sentence = say.sentence("operations: 12 of 40 are listed in a saved report")
    assert sentence.startswith("operations: 12")
    assert ("von 40" in sentence) == (code == "de")
    assert sentence in " ".join(str(text).split())
    assert sentence not in " ".join(str(SUFFIXES[suffix](report, say)).split())


def test_every_list_of_a_report_has_a_limit():
    """A list that is added to the report must be bounded too."""
    unbounded = {"findings", "not_listed"}  # as many as there are causes; as many as there are lists
    lists = {
        field for field in ea.Report.__struct_fields__ if isinstance(getattr(reports.report("no-capi2"), field), tuple)
    }
    assert lists - unbounded <= set(bounds.MOST)
    assert min(bounds.MOST[name] for name in lists - unbounded) >= bounds.LISTED_WHOLE


def test_losses_of_ten_thousand_rows_are_few_bytes(tmp_path):
    made = reports.report("kb-3212877")
    losses = tuple(
        Loss(origin=Origin(source="SEND.LOG", line=n), reason=f"row {n} cannot be read", extent="1 row")
        for n in range(10_000)
    )
    text = to_json(replace(made, losses=losses))
    assert len(text) < 1_000_000
    assert loads(text.encode(), "x").loss_count == 10_000


# ------------------------------------------------------------------------------------------------- read again


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda item: replace(item, rejections=()), "has no refusal"),
        (lambda item: replace(item, links=(replace(item.links[0], rejection="R-0"),)), "a pair names R-0"),
        (lambda item: replace(item, links=(replace(item.links[0], operation="O-0"),)), "and O-0"),
    ],
)
def test_a_report_whose_parts_were_taken_out_is_refused(change, problem):
    made = reports.report("kb-3212877")
    odd = replace(made, incidents=(change(made.incidents[0]), *made.incidents[1:]))
    with pytest.raises(ReportError, match=problem):
        loads(msgspec.json.encode(without_folded(odd)), "x.json")


@pytest.mark.usefixtures("small")
def test_pairs_whose_check_is_not_listed_are_not_listed(tmp_path, monkeypatch):
    monkeypatch.setitem(bounds.MOST, "operations", 2)
    sessions = [refused(60 * number) for number in range(10)]
    recorder = Recorder(cases.HOST, next_record=4000)
    for number in range(10):
        capi2.check(
            recorder, cases.KB_TIME + timedelta(seconds=60 * number), [(cases.LEAF, 0)], seed=str(number),
            policy_result="800B0109", chain_result="800B010A", chain_error=PARTIAL_CHAIN,
        )  # fmt: skip
    files = {cases.SEND_FILE: send_log(sessions), "capi2.xml": "\r\n".join(recorder.events)}
    report = analyzed(tmp_path, files)
    assert len({link.operation for link in report.incidents[0].links}) > 2
    short = saved(report)
    assert {link.operation for link in short.incidents[0].links} <= {operation.id for operation in short.operations}
    assert str(SUFFIXES[".links.csv"](short, language.ENGLISH)).count("\n") == 1 + len(short.incidents[0].links)
