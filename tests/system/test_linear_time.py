"""Searches over input text take time in proportion to it: every regular expression of the package, and whole readers.

The patterns are found by importing all modules and by reading their sources, so that a new one is tested as well. The
worst texts are made from the parts of each pattern (``worst_texts``); growth is compared, and never seconds.
"""

from __future__ import annotations

import io
import re
import time
from functools import cache
from pathlib import Path

import pytest
import worst_texts

import evtx_analyzer
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.read import read
from evtx_analyzer.read.exchange_log import is_exchange_log
from evtx_analyzer.read.lines import LONGEST_LINE
from evtx_analyzer.read.w3c_log import is_w3c_log
from evtx_analyzer.smtp.replies import bracket, verdict_of

PACKAGE = Path(evtx_analyzer.__file__).parent
# Folders and modules by name: looking for patterns imports everything, which tests do and their collection does not.
PLACES = sorted({path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")})
# Of rules, options and texts of the program: no input reaches them. (module:name)
NOT_OF_INPUT = {
    "rules.parsing:", "cli.options:", "cli.config:", "commands:", "report.language:", "diagnose.wording:",
    "rule_tools.", "report.aliases:re.search:(?:",  # the last is only applied to the last 40 characters of a name
    "sigma.", "read.evtx.search:", "read.evtx.span:", "public_roots:",
}  # fmt: skip
# Only ever applied to one name of a path, which discovery limits to 1,000 characters, or to a line cut to as many.
OF_NAMES = {"hosts:", "discover.", "ingest.account:",
            "report.aliases:_PRODUCT_PATH", "report.aliases:re.search", "read.iis_log:_NAMED",
            "read.certutil_text:"}  # fmt: skip
# Applied to whole lines only, of which the last one ends (smtp.blocks).
OF_LINES = {"smtp.fold:_SEND:0", "smtp.fold:_RECEIVE:0"}
_SMALL, _LARGE = 1_500, 6_000
_QUADRATIC = 9  # a text four times as long may take this many times longer; linear is 4, quadratic 16


@cache
def every_pattern():
    found = {name: (pattern, _method(name)) for name, pattern in worst_texts.patterns().items()}
    found |= worst_texts.inline()
    return {name: item for name, item in found.items() if not any(name.startswith(part) for part in NOT_OF_INPUT)}


@cache
def _sources():
    return "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))


def _method(name):
    """``match`` or ``fullmatch`` where the sources apply a pattern in no other way."""
    short = name.split(":")[1]
    used = set(re.findall(rf"\b{short}\.(match|fullmatch|search|sub|split|findall|finditer)\b", _sources()))
    if not used or not used <= {"match", "fullmatch"}:
        return "search"
    return "match" if "match" in used else "fullmatch"


def spent(function, text, times=3):
    best = 1e9
    for _ in range(times):
        began = time.process_time()
        function(text)
        best = min(best, time.process_time() - began)
    return best


def grows(pattern, method, small, large):
    """Whether a pattern takes too long for the longer of two texts; only what takes a while is measured again."""
    function = getattr(pattern, method if method in ("match", "fullmatch") else "search")
    if spent(function, large, 1) < 0.002:
        return False
    return spent(function, large) / max(1e-6, spent(function, small)) > _QUADRATIC


def _place(name):
    """The folder of a pattern, or its module where that lies in none."""
    return name.partition(":")[0].partition(".")[0]


@pytest.mark.slow
def test_patterns_are_found():
    assert len(every_pattern()) > 100
    assert "smtp.replies:_BRACKET:0" in every_pattern()
    assert {_place(name) for name in every_pattern()} <= set(PLACES)


def growing(name):
    """The worst texts over which a pattern goes back."""
    pattern, method = every_pattern()[name]
    size = (300, 1_000) if any(name.startswith(part) for part in OF_NAMES) else (_SMALL, _LARGE)
    end = b"\n" if name in OF_LINES else ""
    large = dict(worst_texts.texts(pattern, size[1]))
    for key, text in worst_texts.texts(pattern, size[0]):
        if grows(pattern, method, text + (end or text[:0]), large[key] + (end or text[:0])):
            yield key


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_no_pattern_goes_back_over_its_worst_text(place):
    names = [name for name in every_pattern() if _place(name) == place]
    assert {name: found for name in names if (found := list(growing(name)))} == {}


WORST = {
    "bracket": (bracket, "550 5.7.64 TenantAttribution [", "a.", ""),
    "brackets": (bracket, "550 5.7.64 ", "[a.b ", ""),
    "blanks in a bracket": (bracket, "550 5.7.64 [a.b", " ", "x"),
    "verdict": (verdict_of, "550 5.7.64 ", "Denied a", ""),
    "verdict, blanks": (verdict_of, "550 5.7.64 Denied", " ", "."),
    "blanks in a W3C header": (lambda text: is_w3c_log(text.encode()), "#Fields:", " ", ",\n"),
    "quoted W3C headers": (lambda text: is_w3c_log(text.encode()), "", "> #Fields:\n", ""),
    "blanks in an Exchange header": (lambda text: is_exchange_log(text.encode()), "#Log-type:", " ", ",\n"),
}


def _consumed(syntax):
    def run(text):
        return list(read(syntax, io.BytesIO(text.encode()), Origin(source="x")))

    return run


READERS = {
    "events without an end": (_consumed("event-xml"), "<Events>", "<Event ", ""),
    "ends without an event": (_consumed("event-xml"), "<Events>", "</Event>", ""),
    "an event's blanks": (_consumed("event-xml"), "<Event>", "</Event  ", ""),
    "commas": (_consumed("exchange-log"), "#Fields: a,b\r\n", ",", ""),
    "quotes": (_consumed("exchange-log"), "#Fields: a,b\r\n", '"', ""),
    "rows": (_consumed("exchange-log"), "#Fields: a,b\r\n", "x\r\n", ""),
    "csv rows that do not end": (_consumed("csv-table"), "timestamp,eventid,messageid\r\n", '"\r\n', ""),
    "list text": (_consumed("console-text"), "", "a : b\r\n", ""),
    "JSON values": (_consumed("event-json"), "", "{", ""),
    "JSON lines": (_consumed("event-json"), "", '{"a\n', ""),
    "JSON strings": (_consumed("event-json"), '{"Event":', '"', ""),
    "mail headers": (_consumed("mail"), "", "a: b\r\n", ""),
    "mail boundaries": (
        _consumed("mail"),
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n",
        "--b\r\n\r\n",
        "",
    ),
    "certutil": (_consumed("certificate"), "", "(sha1):", ""),
    "PEM": (_consumed("certificate"), "", "-----BEGIN CERTIFICATE-----\n", ""),
    "IIS rows": (_consumed("iis-log"), "", "a, b, 1.1.2020, 1:00:00, \r\n", ""),
    "NCSA": (_consumed("ncsa-log"), "", "a b c [", ""),
    "W3C": (_consumed("w3c-log"), "#Fields: date time\r\n", " ", "x"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*WORST, *READERS])
def test_worst_texts_of_10_100_and_1000_kilobytes(name):
    function, start, unit, end = (WORST | READERS)[name]
    texts = [start + unit * (size // len(unit)) + end for size in (10_000, 100_000, 1_000_000)]
    small, middle, large = (spent(function, text, times) for text, times in zip(texts, (3, 2, 1), strict=True))
    # Linear is 10; below some milliseconds what is measured is noise.
    assert middle < 0.05 or middle / small < 40
    assert large < 0.5 or large / middle < 40


@pytest.mark.parametrize("syntax", ["exchange-log", "w3c-log"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_a_line_that_is_too_long_is_a_loss_and_costs_no_other(syntax, encoding):
    fields = "a,b" if syntax == "exchange-log" else "a b"
    row = fields.replace("a", "1").replace("b", "2")
    text = f"#Fields: {fields}\r\n{row}\r\n" + "x" * (LONGEST_LINE + 99_999) + f"\r\n{row}\r\n{row}\r\n"
    found = list(read(syntax, io.BytesIO(text.encode(encoding)), Origin(source="x")))
    (loss,) = [item for item in found if isinstance(item, Loss)]
    assert "longer than" in loss.reason
    assert len(found) == 4
    assert [item.origin.line for item in found] == [2, 3, 4, 5]
    data = text.encode(encoding)
    assert all(data[item.origin.offset :].startswith(row.encode(encoding)) for item in found if item is not loss)


@pytest.mark.parametrize("syntax", ["iis-log", "ncsa-log", "csv-table", "console-text", "certutil-text"])
def test_the_loss_of_a_line_that_is_too_long_has_its_size(syntax):
    size = LONGEST_LINE + 99_999
    text = '"Timestamp","EventId","MessageId"\r\n' + "x" * size + "\r\n"
    found = read(syntax, io.BytesIO(text.encode()), Origin(source="x"))
    (loss,) = [loss for loss in found if isinstance(loss, Loss) and loss.origin.line == 2]
    assert "longer than" in loss.reason
    assert loss.extent == f"1 line, {size + 1:,} bytes", "with the carriage return"
