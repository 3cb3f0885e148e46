"""The report on a terminal at 80, 100 and 140 columns: nothing to copy is broken, the first block stands alone."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from reports import NAMES, hostile, report

from evtx_analyzer.model.findings import Evidence
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.report import language
from evtx_analyzer.report.terminal import to_terminal

WIDTHS = (80, 100, 140)


def lines(name, width, code="en", **options):
    return to_terminal(report(name), language.load(code), width=width, **options).splitlines()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_commands_and_addresses_are_whole_and_all_else_fits(name, width):
    shown = lines(name, width)
    best = report(name).findings[0] if report(name).findings else None
    remedy = best.remedy if best else None
    for line in (*remedy.steps, *remedy.verify) if remedy else ():
        if line.startswith("> "):
            assert any(item.strip() == line.removeprefix("> ") for item in shown), line
    for text in remedy.references if remedy else ():
        address = text[text.find("https://") :]
        assert any(item.strip() == address for item in shown), address
    commands = {line.removeprefix("> ") for part in best.missing for line in part.collect} if best else set()
    commands |= {line.removeprefix("> ") for line in (*remedy.steps, *remedy.verify)} if remedy else set()
    for item in shown:
        # A word longer than the terminal is left whole; there is none in these reports but commands and addresses.
        assert len(item) <= width or item.strip() in commands or item.strip().startswith("https://"), item


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("code", ["en", "de"])
def test_no_cell_of_a_table_is_broken_inside_of_a_word(width, code):
    text = " ".join(" ".join(lines("kb-3212877", width, code)).split())
    certificate = report("kb-3212877").incidents[0].certificate.thumbprint
    assert text.count(certificate) >= 5
    for word in ("03:09:55.774", "03:14:20.520", "800B0109", "CORP-SMTP1"):
        assert word in text.split()


def test_the_first_block_says_what_to_know_and_to_do():
    shown = lines("kb-3212877", 80, opening_only=True)
    assert shown[0] == "probable: The server does not send its intermediate certificates (KB 3212877)"
    heads = [line for line in shown if line and not line.startswith(" ")]
    assert heads[1:] == ["Why", "Do this first", "How to see that it worked", "What is missing"]
    assert len(shown) < 40, "a screen or less"
    assert lines("kb-3212877", 80)[: len(shown)] == shown, "the whole report begins with it"


def test_the_first_block_says_that_something_was_lost_and_what_is_missing():
    made = report("no-tls-iis")
    assert "What is missing" in to_terminal(made, opening_only=True).splitlines()
    from evtx_analyzer.model.origin import Loss

    lost = replace(made, losses=(Loss(origin=Origin(source="x"), reason="cut", extent="1 row"),) * 2)
    assert "2 losses are listed at the end" in to_terminal(lost, opening_only=True)
    assert "1 loss is listed at the end" in to_terminal(replace(lost, losses=lost.losses[:1]), opening_only=True)


def test_equal_sentences_are_merged():
    made = report("kb-3212877")
    same = tuple(
        Evidence(text="The same.", origin=Origin(source="SEND.LOG", line=number)) for number in (5200, 5636, 6012)
    )
    best = replace(made.findings[0], supports=same)
    text = to_terminal(replace(made, findings=(best, *made.findings[1:])))
    assert text.count("The same.") == 1
    assert "3 times: SEND.LOG lines 5200, 5636, 6012" in text


def test_the_time_line_says_that_it_is_an_excerpt():
    shown = lines("kb-3212877", 100)
    start = shown.index("Time line")
    assert shown[start + 1] == "  An excerpt: the seconds around the nearest pair"
    assert [line.partition("|")[0].strip() for line in shown[start + 2 : start + 6]] == [
        "CAPI2 failures (1 of 2)",
        "CAPI2 successes (0)",
        "TLS handshakes (1 of 2)",
        "Refusals (2 of 3)",
    ]


@pytest.mark.parametrize("width", [40, 80])
def test_hostile_names_change_no_line(width):
    for color in (True, False):
        assert to_terminal(hostile(), width=width, color=color).count("\x07") == 0


def test_color_changes_no_character():
    import re

    plain = to_terminal(report("kb-3212877"), width=90)
    assert re.sub(r"\x1b\[[0-9;]*m", "", to_terminal(report("kb-3212877"), width=90, color=True)) == plain
