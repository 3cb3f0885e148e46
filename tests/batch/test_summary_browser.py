"""The page of a summary in a real browser: its own script filters and sorts, no other runs, all is there without."""

from __future__ import annotations

import pytest
from browser import chromium
from msgspec.structs import replace

from evtx_analyzer.batch.compare import compare
from evtx_analyzer.batch.summary_page import to_html
from evtx_analyzer.report import language
from tests.batch.test_compare import NOW

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def show(browser, tmp_path):
    contexts = []

    def opened(page, **options):
        path = tmp_path / "summary.html"
        path.write_text(page, encoding="utf-8")
        contexts.append(browser.new_context(**options))
        tab = contexts[-1].new_page()
        said = []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(path.as_uri())
        return tab, said

    yield opened
    for context in contexts:
        context.close()


def names(tab):
    """Bundles that are seen, from top to bottom."""
    rows = tab.locator("#bundles tbody tr:visible td:first-child")
    return rows.all_inner_texts()


def test_rows_are_filtered_and_sorted(show):
    tab, said = show(to_html(NOW))
    assert said == []
    assert names(tab) == ["a", "b", "c", "d", "e"]
    tab.get_by_label("outcome").select_option("absence-not-shown")
    assert names(tab) == ["c"]
    tab.get_by_label("outcome").select_option("")
    tab.get_by_label("Filter").fill("MISSING probable")
    assert names(tab) == ["a"]
    assert tab.locator("#shown").inner_text() == "1 / 5"
    tab.get_by_label("Filter").fill("")
    heads = tab.locator("#bundles thead button")
    heads.filter(has_text="refusals").click()
    heads.filter(has_text="refusals").click()
    assert names(tab)[:2] == ["a", "d"]
    heads.filter(has_text="bundle").click()
    heads.filter(has_text="bundle").click()
    assert names(tab) == ["e", "d", "c", "b", "a"]


def test_without_script_all_is_there(show):
    tab, _ = show(to_html(compare(NOW, {})), java_script_enabled=False)
    assert names(tab) == ["a", "b", "c", "d", "e"]
    assert not tab.locator("#controls").is_visible()


def test_a_name_runs_nothing(show):
    evil = "<img src=x onerror=document.title='run'><script>document.title='run'</script>"
    row = replace(
        NOW.rows[0], bundle=evil, reason=evil, status="failed", outcome="failed", readable=f"reports/{evil}.html"
    )
    tab, said = show(to_html(replace(NOW, rows=(row,))))
    assert tab.title() == "5.7.64: 1 bundles"
    assert said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_word_is_wider_than_the_page_on_a_phone(show, scheme):
    viewport = {"width": 390, "height": 800}
    tab, said = show(to_html(compare(NOW, {}), language.load("de")), color_scheme=scheme, viewport=viewport)
    assert said == []
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
