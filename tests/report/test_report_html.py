"""The page: complete without a script, safe with hostile names, small for any case."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from lxml import html
from reports import HOSTILE, NAMES, enormous, hostile, rendered, report

from evtx_analyzer.report import language
from evtx_analyzer.report.html import to_html

LIMIT = 300 * 1024


def page(made, say=language.ENGLISH):
    return html.document_fromstring(to_html(made, say))


@pytest.mark.parametrize("name", NAMES)
def test_every_case_has_a_small_page_without_script_or_request(name):
    text = rendered(name, ".html")
    tree = html.document_fromstring(text)
    assert len(text.encode()) < LIMIT
    assert text.startswith("<!doctype html>")
    for forbidden in ("script", "link", "img", "iframe", "object", "form"):
        assert not tree.xpath(f"//{forbidden}")
    assert not tree.xpath("//@style | //@onclick | //@onload")
    for address in tree.xpath("//@href"):
        assert address.startswith(("#", "https://")), address
        assert not address.startswith("#") or tree.get_element_by_id(address[1:]) is not None
    assert "url(" not in tree.xpath("string(//style)")


@pytest.mark.parametrize("name", NAMES)
def test_the_policy_allows_the_own_style_and_nothing_else(name):
    tree = html.document_fromstring(rendered(name, ".html"))
    policy = tree.xpath("string(//meta[@http-equiv='Content-Security-Policy']/@content)")
    digest = base64.b64encode(hashlib.sha256(tree.xpath("string(//style)").encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_sections_stand_in_the_order_in_which_they_are_asked_for():
    ids = page(report("kb-3212877")).xpath("//section/@id")
    expected = [
        "verdict",
        "said",
        "evidence",
        "common",
        "time",
        "chain",
        "fix",
        "missing",
        "references",
        "others",
        "incidents",
        "inputs",
        "losses",
        "about",
    ]
    assert ids == expected


def test_the_kb_case_reads_as_microsoft_tells_it():
    tree = page(report("kb-3212877"))
    assert "does not send its intermediate certificates" in tree.xpath("string(//h1)")
    assert tree.xpath("string(//*[@id='verdict']//*[contains(@class, 'grade')])") == "probable"
    row = [" ".join(cell.text_content().split()) for cell in tree.xpath("(//section[@id='evidence']//tbody/tr)[1]/td")]
    # KB 3212877: refused at 03:09:55.774, event 30 at 03:09:55.456; the sample's handshake stands 255 ms before it.
    assert row[0].startswith("2016-12-01 03:09:55.774")
    assert row[1:4] == ["03:09:55.201", "03:09:55.456", "+0.255 s"]
    commands = tree.xpath("//code[@class='cmd']/text()")
    assert any("-CertStoreLocation cert:\\LocalMachine\\CA" in command for command in commands)


def test_the_chain_shows_where_it_breaks():
    tree = page(report("kb-3212877"))
    names = [item.text_content() for item in tree.xpath("(//ol[@class='chain'])[1]//*[@class='name']")]
    assert names == ["*.ServerName.com", "CN=Example Trust TLS CA 2016, O=Example Trust, Inc., C=US"]
    assert tree.xpath("(//ol[@class='chain'])[1]/li[last()]/@class") == ["gone"]


def test_an_untrusted_root_is_marked_and_nothing_is_missing():
    tree = page(report("untrusted-root"))
    assert not tree.xpath("//li[@class='gone']")
    wrong = tree.xpath("(//ol[@class='chain'])[1]/li[@class='wrong']")
    assert [item.xpath("string(.//*[@class='role'])") for item in wrong] == ["root"]


def test_the_pictures_hold_every_mark_and_have_a_table_beside_them():
    made = report("kb-3212877")
    tree = page(made)
    overview = tree.xpath("//svg[.//*[@id='overview-title']]")[0]
    marks = overview.xpath(".//*[contains(concat(' ', @class), ' mark')]/@class")
    assert sorted(marks) == ["mark failures"] * 2 + ["mark handshakes"] * 2 + ["mark refusals"] * 2
    assert len(overview.xpath(".//line[contains(@class, 'link')]")) == 2
    assert overview.xpath(".//rect[@class='covered']")
    assert len(tree.xpath("//details//tbody/tr")) - len(made.sources) == 6


def test_what_a_log_writes_shows_as_text_and_never_acts():
    text = to_html(hostile())
    tree = html.document_fromstring(text)
    assert not tree.xpath("//script | //i | //s")
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    shown = tree.xpath("string(//ol[@class='chain']//*[@class='name'])")
    assert shown.startswith("<I>CN=x<S>CN=y<script>alert(1)</script>")
    assert "http://evil.example" not in " ".join(tree.xpath("//@href"))


def test_a_case_of_any_size_stays_under_the_limit_and_says_what_was_cut():
    made = enormous()
    text = to_html(made)
    assert len(text.encode()) < LIMIT
    assert f"of {len(made.losses)} are shown; the JSON report holds more." in text
    assert len(re.findall("are shown; the JSON report holds (?:all|more)", text)) >= 6


def test_dense_lanes_are_counted_in_bins():
    tree = page(enormous())
    overview = tree.xpath("//svg[.//*[@id='overview-title']]")[0]
    counts = [int(item) for item in overview.xpath(".//rect[@class='mark refusals']/title/text()")]
    assert sum(counts) == 3000
    assert len(counts) <= 80


def test_without_a_refusal_the_page_says_what_that_is_worth():
    made = report("kb-3212877")
    from msgspec.structs import replace

    from evtx_analyzer.model.findings import Verdict

    verdict = Verdict(cause=None, grade=None, title="No 5.7.64 refusal was found", summary="Everything was read.")
    empty = replace(made, verdict=verdict, findings=(), incidents=(), common=(), operations=(), coverage=(), sources=())
    tree = page(empty)
    assert tree.xpath("//section/@id") == ["verdict", "inputs", "losses", "about"]
    assert HOSTILE not in tree.text_content()


def test_the_page_names_its_language():
    tree = page(report("kb-3212877"), language.load("de"))
    assert tree.xpath("string(/html/@lang)") == "de"
    assert tree.xpath("string(//section[@id='fix']/h2)") == "Behebung"
