"""A fix after a large outage: refusals that are folded say the same of it as refusals that are listed one by one.

What is expected is what the same logs show where nothing is folded. The worst fault would be a fix that is said to have
worked because a refusal after it, or a state in which mail was refused, stands in no list.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

import evtx_analyzer as ea
from evtx_analyzer.ingest import events
from evtx_analyzer.options import analysis_options
from evtx_analyzer.pipeline import analyze_with_evidence
from evtx_analyzer.repair.changes import changes
from evtx_analyzer.repair.refused_state import refused_state
from evtx_analyzer.report.document import load, to_json
from evtx_analyzer.smtp import folding
from samples.cases import LEAF
from samples.pieces import OLD, START, send
from samples.smtp import REFUSAL, SEEN, SendSession
from tests.repair.test_repair import BROKEN, SOUND, accepted_at, checked, grade, result, sent, written

HOST = "CORP-SMTP1"
MANY = 400
NO_LIMIT = 1_000_000
LIMITS = (NO_LIMIT, folding.FEW, 0)
FIX = {"capi2-later.xml": checked((1.5, SOUND))}


@pytest.fixture(autouse=True)
def small_files_are_read_in_bulk(monkeypatch):
    monkeypatch.setattr(events, "_LARGE", 0)


@pytest.fixture
def folded_above(monkeypatch):
    return lambda limit: monkeypatch.setattr(folding, "FEW", limit)


def refused(number, hours=0.0, leaf=LEAF, sender="a@servername.com", seen=SEEN):
    start = START + timedelta(hours=hours, seconds=2 * number)
    made = SendSession(start, f"08D50D3D{leaf.thumbprint[0]}{number:07X}", local=f"10.10.248.7:{10_000 + number}")
    made.connect(seen=seen).starttls(leaf)
    return made.message(710, sender, [("b@fabrikam.com", REFUSAL)], number).quit(1100)


def outage(count=MANY, **options):
    return [refused(number, **options) for number in range(count)]


def before(sessions):
    return {"capi2.xml": checked((0, BROKEN)), "SEND1.LOG": send(*sessions)}


def counted(report):
    return sum(incident.folded_count for incident in report.incidents)


def saved(report, folder):
    path = folder / "earlier.json"
    path.write_text(to_json(report), encoding="utf-8")
    return load(path)


def told(report):
    """What a report says of a repair, with the grades that follow from it."""
    grades = {finding.cause: finding.grade for finding in report.findings}
    return msgspec.to_builtins((report.repair, report.verdict.cause, report.verdict.grade)), grades


@pytest.fixture
def verified(tmp_path, folded_above):
    """``verify`` of an outage without folding, with it, and from a saved report: all must say the same."""

    def run(first, after):
        folders = written(tmp_path / "before", first), written(tmp_path / "after", after)
        reports = []
        for limit in LIMITS:
            folded_above(limit)
            earlier = ea.analyze(folders[0], host=HOST)
            assert bool(counted(earlier)) is (limit != NO_LIMIT)
            reports += [ea.verify(item, folders[1], host=HOST) for item in (earlier, saved(earlier, tmp_path))]
        assert all(told(report) == told(reports[0]) for report in reports)
        return reports[-1]

    return run


@pytest.fixture
def together(tmp_path, folded_above):
    """One input with the outage and what came after, with and without folding; both say the same."""

    def run(files):
        folder, reports = written(tmp_path / "all", files), []
        for limit in LIMITS:
            folded_above(limit)
            reports.append(ea.analyze(folder, host=HOST))
        assert all(told(report) == told(reports[0]) for report in reports)
        return reports[-1]

    return run


def test_a_fix_after_an_outage_of_folded_refusals_is_confirmed(verified):
    report = verified(before(outage()), {**FIX, "SEND2.LOG": send(accepted_at(2))})
    assert report.incidents[0].folded_count > 0
    assert result(report) == "fixed"
    assert (report.verdict.cause, report.verdict.grade) == ("missing-intermediate", "confirmed")


def test_the_same_in_one_input(together):
    report = together({**before(outage()), **FIX, "SEND2.LOG": send(accepted_at(2))})
    assert result(report) == "fixed"
    assert report.verdict.grade == "confirmed"


def test_one_folded_refusal_after_the_accepted_mail_means_that_the_fix_did_not_work(verified, tmp_path):
    after = {**FIX, "SEND2.LOG": send(*outage(), accepted_at(2), refused(900, hours=2))}
    report = verified(before(outage()), after)
    assert result(report) == "still-refused"
    assert "1 more refusal" in report.repair.incidents[0].refused[0].text
    assert grade(report) == "probable"
    # It is one of those that are never listed one by one.
    later = analyze_with_evidence(tmp_path / "after", analysis_options(host=HOST)).later
    assert (len(later.rejections), sum(map(len, later.alike))) == (0, MANY + 1)


def test_one_folded_refusal_before_the_accepted_mail_and_after_the_check_confirms_nothing(verified):
    after = {**FIX, "SEND2.LOG": send(*outage(), refused(900, hours=1.2), accepted_at(2))}
    report = verified(before(outage()), after)
    assert result(report) == "fixed"
    assert grade(report) == "probable"


def test_folded_refusals_with_another_certificate_after_the_accepted_mail(together):
    later = outage(hours=3, leaf=OLD)
    report = together({**before(outage()), **FIX, "SEND2.LOG": send(accepted_at(2), *later)})
    assert report.repair is None
    assert grade(report) != "confirmed"


def test_mail_that_was_accepted_amid_folded_refusals_shows_nothing_afterwards(verified):
    amid = sorted([*outage(), accepted_at(0.1, "08D50D3D9730A8EE")], key=lambda item: item.start)
    report = verified(before(amid), {**FIX, "SEND2.LOG": send(accepted_at(2))})
    assert grade(report) != "confirmed"


def of_senders(count):
    return [refused(number, sender=f"a@sender{number % count}.com") for number in range(MANY)]


def test_a_sender_among_folded_refusals_is_known_where_a_saved_report_lists_one_of_each_kind(verified):
    after = {**FIX, "SEND2.LOG": send(sent(2, "08D50E7411223344", "x@sender9.com", "b@fabrikam.com"))}
    report = verified(before(of_senders(10)), after)
    assert (result(report), report.verdict.grade) == ("fixed", "confirmed")


@pytest.mark.parametrize("sender", [0, 55])
def test_a_saved_report_that_does_not_list_each_kind_confirms_nothing(sender, tmp_path):
    after = {**FIX, "SEND2.LOG": send(sent(2, "08D50E7411223344", f"x@sender{sender}.com", "b@fabrikam.com"))}
    earlier = ea.analyze(written(tmp_path / "before", before(of_senders(60))), host=HOST)
    later = written(tmp_path / "after", after)
    assert grade(ea.verify(earlier, later, host=HOST)) == "confirmed"
    report = ea.verify(saved(earlier, tmp_path), later, host=HOST)
    assert (result(report), grade(report)) == ("fixed", "probable")


def changed(earlier, folder):
    (incident,) = earlier.incidents
    state = refused_state(incident, {operation.id: operation for operation in earlier.operations})
    later = analyze_with_evidence(folder, analysis_options(host=HOST)).later
    return [change.name for change in changes(state, later)]


def test_no_address_is_another_one_where_a_refusal_shows_none(tmp_path):
    """An answer to EHLO that names no client: that refusal may have come from any address, the later one among them."""
    sessions = [refused(1), refused(2, seen="")]
    earlier = ea.analyze(written(tmp_path / "before", {"SEND1.LOG": send(*sessions)}), host=HOST)
    assert {rejection.seen_address for rejection in earlier.incidents[0].rejections} == {SEEN, ""}
    after = written(tmp_path / "after", {"SEND2.LOG": send(accepted_at(2, seen="203.0.113.99"))})
    assert changed(earlier, after) == []


@pytest.mark.parametrize(
    ("count", "seen", "expected", "from_saved"),
    [
        # One of those that were seen: nothing has changed.
        (10, 9, [], []),
        (60, 55, [], []),
        (10, 99, ["another-address"], ["another-address"]),
        # A saved report does not list every address, so none can be told to be another one.
        (60, 99, ["another-address"], []),
    ],
)
def test_an_address_is_another_one_only_where_all_are_known(count, seen, expected, from_saved, tmp_path):
    sessions = [refused(number, seen=f"203.0.113.{number % count + 1}") for number in range(MANY)]
    earlier = ea.analyze(written(tmp_path / "before", {"SEND1.LOG": send(*sessions)}), host=HOST)
    after = written(tmp_path / "after", {"SEND2.LOG": send(accepted_at(2, seen=f"203.0.113.{seen + 1}"))})
    assert changed(earlier, after) == expected
    assert changed(saved(earlier, tmp_path), after) == from_saved
