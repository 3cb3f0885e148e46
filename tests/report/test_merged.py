"""Equal sentences of evidence come once, with all their places."""

from __future__ import annotations

from datetime import UTC, datetime

from evtx_analyzer.model.findings import Evidence
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.report import language
from evtx_analyzer.report.merged import merged, place_text, places_text

EN, DE = language.ENGLISH, language.load("de")


def seen(text, record, second=0):
    time = datetime(2026, 3, 10, 9, 0, second, tzinfo=UTC)
    return Evidence(text=text, origin=Origin(source="capi2.evtx", record=record), time=time)


def test_equal_sentences_are_one_with_all_records():
    first, other = merged([seen("It failed.", 5200), seen("Other.", 1), seen("It failed.", 5636, 7)], EN)
    assert (first.text, first.count, first.place) == ("It failed.", 2, "capi2.evtx records 5200, 5636")
    assert first.time == "2026-03-10 09:00:00.000 UTC to 2026-03-10 09:00:07.000 UTC"
    assert (other.text, other.count, other.place) == ("Other.", 1, "capi2.evtx record 1")


def test_sentences_that_differ_in_the_distance_only_are_equal_and_in_anything_else_are_not():
    texts = ["It got 800B0109, 0.255 s after the start.", "It got 800B0109, 1.2 min before the start."]
    assert [observed.count for observed in merged([seen(text, 1) for text in texts], EN)] == [2]
    assert len(merged([seen(texts[0], 1), seen(texts[0].replace("0109", "010A"), 2)], EN)) == 2


def test_places_are_grouped_by_file_and_long_lists_are_cut():
    line = Origin(source="SEND.LOG", line=3)
    many = [Origin(source="a.zip", member="x.evtx", record=number) for number in range(1, 12)]
    assert places_text([line, *many], EN) == "SEND.LOG line 3; a.zip!x.evtx records 1, 2, 3, 4, 5, 6, 7, 8 and 3 more"
    assert places_text([line, line], DE) == "SEND.LOG Zeile 3"
    assert place_text(Origin(source="x", offset=9), DE) == "x Position 9"
    assert place_text(Origin(source="x"), EN) == "x"
    assert place_text(None, EN) == ""
