"""Rejections and operations are joined; the view of a refusal is made once and travels on as a value."""

from __future__ import annotations

from collections import Counter

import pytest
from places import SAMPLES

from evtx_analyzer import pipeline
from evtx_analyzer.correlate import correlation
from evtx_analyzer.correlate.session_facts import session_facts
from evtx_analyzer.diagnose.wording import SHOWN_FIELDS


@pytest.fixture
def calls(monkeypatch):
    counted, plain = Counter(), session_facts

    def counting(rejection, facts):
        counted[rejection.id] += 1
        return plain(rejection, facts)

    monkeypatch.setattr(correlation, "session_facts", counting)
    return counted


@pytest.mark.parametrize("case", ["kb-3212877", "attr36-domains", "no-tls-iis"])
def test_the_view_of_a_refusal_is_made_once(case, calls):
    report = pipeline.analyze(SAMPLES / case)
    assert report.rejection_count
    assert set(calls.values()) == {1}


def test_views_hold_the_fields_asked_for_and_equal_ones_are_one(monkeypatch):
    kept, plain = [], correlation.correlate
    monkeypatch.setattr(pipeline, "correlate", lambda *arguments: kept.append(plain(*arguments)) or kept[0])
    report = pipeline.analyze(SAMPLES / "kb-3212877")
    views = kept[0].views
    assert len(views) == report.rejection_count
    assert all(set(view) <= set(SHOWN_FIELDS) for view in views.values())
    assert any(view.get("SentName") for view in views.values())
    distinct = {tuple(view.items()) for view in views.values()}
    assert len({id(view) for view in views.values()}) == len(distinct)
