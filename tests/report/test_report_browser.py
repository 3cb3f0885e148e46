"""The page in a real browser: opens from a file, asks the network for nothing, is accessible, dark, printable."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from browser import chromium
from reports import NAMES, enormous, hostile, rendered, report

from evtx_analyzer.report import language
from evtx_analyzer.report.html import to_html

pytestmark = pytest.mark.slow


@cache
def enormous_page():
    return to_html(enormous())


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


class Seen:
    """A page that is open, what its console said and what it asked for."""

    def __init__(self, browser, path, **options):
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())


@pytest.fixture
def open_page(browser, tmp_path):
    opened = []

    def show(made, say=language.ENGLISH, **options):
        path = tmp_path / f"{len(opened)}.html"
        path.write_text(made if isinstance(made, str) else to_html(made, say), encoding="utf-8")
        opened.append(Seen(browser, path, **options))
        return opened[-1]

    yield show
    for seen in opened:
        seen.context.close()


def test_every_case_opens_from_a_file_without_error_or_request(open_page, tmp_path):
    seen = open_page(rendered(NAMES[0], ".html"))
    for name in NAMES:
        path = tmp_path / f"{name}.html"
        path.write_text(rendered(name, ".html"), encoding="utf-8")
        seen.asked.clear()
        seen.page.goto(path.as_uri())
        assert seen.asked == [path.as_uri()], "the file itself and nothing else"
        assert seen.said == [], name
        assert seen.page.locator("h1").inner_text() == report(name).verdict.title


@pytest.mark.parametrize("name", ["kb-3212877", "later-success", "no-capi2"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(open_page, name, scheme):
    axe = pytest.importorskip("axe_playwright_python", reason='needs axe-core: pip install -e ".[test]"')
    # The page's policy forbids scripts; only for the checker's own script it is set aside.
    seen = open_page(report(name), color_scheme=scheme, bypass_csp=True)
    seen.page.add_script_tag(path=str(Path(axe.__file__).parent / "axe.min.js"))
    for item in seen.page.locator("details").all():
        item.evaluate("element => { element.open = true }")
    found = seen.page.evaluate("async () => (await axe.run()).violations")
    assert [(item["id"], item["impact"], item["nodes"][0]["html"]) for item in found] == []


def test_the_picture_has_its_marks_where_they_belong(open_page):
    page = open_page(report("kb-3212877")).page
    failure, handshake, refusal = (
        page.locator(f"svg:has(#close-up-title) .mark.{name}").first.bounding_box()
        for name in ("failures", "handshakes", "refusals")
    )
    # 03:09:55.201 handshake, 03:09:55.456 event 30, 03:09:55.774 refusal: equal distances in time, one lane each.
    assert handshake["x"] < failure["x"] < refusal["x"]
    assert failure["y"] < handshake["y"] < refusal["y"]
    middle = [box["x"] + box["width"] / 2 for box in (handshake, failure, refusal)]
    assert (middle[1] - middle[0]) / (middle[2] - middle[0]) == pytest.approx(255 / 573, abs=0.02)


def test_dark_and_light_differ_and_both_can_be_read(open_page):
    def colors(scheme):
        page = open_page(report("kb-3212877"), color_scheme=scheme).page
        return page.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")

    light, dark = colors("light"), colors("dark")
    assert light[0] != dark[0]
    assert light[1] != dark[1]


@pytest.mark.parametrize("width", [360, 768, 1400])
@pytest.mark.parametrize("make", [lambda: report("kb-3212877"), hostile, enormous_page], ids=["kb", "hostile", "huge"])
def test_the_page_never_scrolls_sideways(open_page, make, width):
    page = open_page(make(), viewport={"width": width, "height": 800}).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def pages(data):
    return len(re.findall(rb"/Type\s*/Page\b", data))


def test_prints_on_four_pages_and_folded_tables_only_where_they_were_opened(open_page):
    seen = open_page(report("kb-3212877"))
    seen.page.emulate_media(media="print")
    assert not seen.page.locator("nav").is_visible()
    data = seen.page.pdf(format="A4")
    assert data.startswith(b"%PDF-")
    assert 1 <= pages(data) <= 4
    digests = seen.page.get_by_text("SHA-256", exact=True)
    assert not digests.is_visible()
    seen.page.locator("details").last.evaluate("element => { element.open = true }")
    assert digests.is_visible()


def test_pairs_are_printed_as_a_table_and_not_as_on_a_phone(open_page):
    page = open_page(report("kb-3212877"), viewport={"width": 700, "height": 900}).page
    display = "getComputedStyle(document.querySelector('#evidence td')).display"
    assert page.evaluate(display) == "grid"
    page.emulate_media(media="print")
    assert page.evaluate(display) == "table-cell"


def test_no_difference_is_written_over_a_mark_or_a_bar(open_page):
    page = open_page(report("kb-3212877")).page
    boxes = (
        "[...document.querySelectorAll('svg %s')].map(e => { const b = e.getBBox(); "
        "return [b.x, b.y, b.width, b.height] })"
    )
    labels, marks = (page.evaluate(boxes % name) for name in (".delta", ".mark"))
    assert labels
    for x, y, width, height in labels:
        for left, top, wide, high in marks:
            # A text's box is higher than its digits: two units above and below.
            assert x > left + wide or left > x + width or y + 2 > top + high or top > y + height - 2


def test_hostile_names_do_nothing(open_page):
    seen = open_page(hostile())
    assert seen.said == []
    assert len(seen.asked) == 1
    assert seen.page.evaluate("document.scripts.length") == 0


def test_everything_can_be_reached_by_keyboard(open_page):
    page = open_page(report("kb-3212877")).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName + '.' + document.activeElement.className"))
    assert {"A.", "DIV.scroll", "CODE.cmd", "SUMMARY."} <= reached


def test_one_click_selects_a_whole_command(open_page):
    page = open_page(report("kb-3212877")).page
    command = page.locator("code.cmd").first
    command.click()
    assert page.evaluate("getSelection().toString()") == command.inner_text()


def test_the_largest_page_is_light_enough_to_open_at_once(open_page):
    seen = open_page(enormous_page())
    assert seen.page.evaluate("document.querySelectorAll('*').length") < 4000, "elements; 4000 take about 0.2 s"


def test_german_page_is_announced_as_german(open_page):
    page = open_page(report("kb-3212877"), language.load("de")).page
    assert page.evaluate("document.documentElement.lang") == "de"
    assert page.get_by_role("heading", name="Zertifikatkette").is_visible()
