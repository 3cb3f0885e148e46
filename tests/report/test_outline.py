"""Handshakes, stores and the repair in every readable output, and what the first block says."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from reports import report

from evtx_analyzer.documentation import documentation
from evtx_analyzer.errors import OptionError
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.findings import Evidence, IncidentRepair, Missing, Repair
from evtx_analyzer.model.handshake import Handshake, WireCertificate
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.model.stores import Store
from evtx_analyzer.report import SUFFIXES, language
from evtx_analyzer.report.outline import opening, outline, to_fill_in
from evtx_analyzer.report.shared import handshake_cells, kind_text

READABLE = (".html", ".md", ".txt")
EN, DE = language.ENGLISH, language.load("de")
WHERE = Origin(source="trace.pcapng", offset=4711)
LEAF = WireCertificate(thumbprint="AB" * 20, subject="CN=mail.contoso.com", issuer="CN=Contoso CA")


def handshake(**changes):
    made = Handshake(
        id="H-1",
        start=datetime(2026, 3, 10, 9, 14, 2, 100000, tzinfo=UTC),
        local="192.0.2.7:40000",
        remote="203.0.113.9:25",
        tls="TLS 1.2",
        requested=True,
        sent=(LEAF,),
        received=(),
        alert="",
        rejection="R-1",
        origin=WHERE,
    )
    return replace(made, **changes)


def repair(result, **parts):
    return Repair(
        result=result, incidents=(IncidentRepair(incident="I-1", cause="missing-intermediate", result=result, **parts),)
    )


def shown(made, suffix, say=EN):
    return " ".join(SUFFIXES[suffix](made, say).decode().replace("\\", "").split())


@pytest.mark.parametrize("suffix", READABLE)
def test_the_trace_is_shown(suffix):
    made = replace(report("kb-3212877"), handshakes=(handshake(),))
    text = shown(made, suffix)
    for part in ("What the network trace shows", "1.2", "CN=mail.contoso.com", "203.0.113.9:25"):
        assert part in text
    assert "Was der Netzwerkmitschnitt zeigt" in shown(made, suffix, DE)
    assert "What the network trace shows" not in shown(report("kb-3212877"), suffix)


@pytest.mark.parametrize(
    ("changes", "asked", "sent"),
    [
        ({}, "yes", "1: CN=mail.contoso.com"),
        ({"requested": False, "sent": ()}, "no", "none"),
        ({"requested": None, "sent": (), "tls": "TLS 1.3"}, "cannot be seen", "cannot be seen"),
    ],
)
def test_what_tls_hides_is_not_called_absent(changes, asked, sent):
    cells = handshake_cells(handshake(**changes), EN)
    assert cells[3:5] == (asked, sent)


@pytest.mark.parametrize("suffix", READABLE)
def test_stores_are_shown(suffix):
    certificate = Certificate(thumbprint="CD" * 20, subject="CN=Contoso CA")
    store = Store(name="CA", host="EX01", certificates=(certificate, certificate), origin=Origin(source="store-ca.txt"))
    text = shown(replace(report("kb-3212877"), stores=(store,)), suffix)
    for part in ("Certificate stores", "CA (intermediate authorities)", "EX01", "store-ca.txt"):
        assert part in text


@pytest.mark.parametrize("suffix", READABLE)
@pytest.mark.parametrize(
    ("result", "words"),
    [
        ("fixed", "The fix has worked"),
        ("still-refused", "Mail is still refused."),
        ("not-shown", "Neither is shown"),
    ],
)
def test_whether_the_fix_worked_is_shown(suffix, result, words):
    evidence = (Evidence(text="Something was seen.", origin=Origin(source="x.log", line=7)),)
    missing = (Missing(text="The later log.", collect=("> Get-Log",)),)
    made = replace(report("kb-3212877"), repair=repair(result, changed=evidence, missing=missing))
    text = shown(made, suffix)
    for part in ("Has the fix worked?", words, "Something was seen.", "x.log line 7", "The later log.", "Get-Log"):
        assert part in text


def test_nothing_is_to_be_done_first_where_the_fix_has_worked():
    made = report("kb-3212877")
    assert opening(made, EN).first is not None
    assert opening(replace(made, repair=repair("still-refused")), EN).first is not None
    fixed = opening(replace(made, repair=repair("fixed")), EN)
    assert fixed.first is None
    assert fixed.verify == ()


def test_the_first_block_comes_first_in_every_case():
    for name in ("kb-3212877", "no-tls-iis", "no-capi2", "attr35"):
        flags = [section.opening for section in outline(report(name), EN)]
        assert flags == sorted(flags, reverse=True)
        assert flags[0]


def test_a_cause_names_its_page(monkeypatch):
    made = report("kb-3212877")
    page = "https://example.org/docs/causes/missing-intermediate.html"
    for address in ("https://example.org/docs", "https://example.org/docs/"):
        monkeypatch.setenv("EVTX_ANALYZER_DOCS", address)
        assert opening(made, EN).page == page
    assert f'href="{page}"' in SUFFIXES[".html"](made, EN).decode()
    assert f"missing-intermediate: more in {page}" in SUFFIXES[".txt"](made, EN).decode()


def test_a_cause_links_to_no_page_where_none_is_published(monkeypatch):
    monkeypatch.delenv("EVTX_ANALYZER_DOCS", raising=False)
    made = report("kb-3212877")
    assert opening(made, EN).page == ""
    assert "more in" not in SUFFIXES[".txt"](made, EN).decode()


def test_a_cause_of_other_rules_has_no_page(monkeypatch):
    monkeypatch.setenv("EVTX_ANALYZER_DOCS", "https://example.org/docs")
    made = report("kb-3212877")
    assert opening(replace(made, verdict=replace(made.verdict, cause="relay-blocked")), EN).page == ""


@pytest.mark.parametrize("address", ["javascript:alert(1)", "docs", "ftp://x", "https://a b", "https://a\nb"])
def test_what_is_no_address_is_refused(monkeypatch, address):
    monkeypatch.setenv("EVTX_ANALYZER_DOCS", address)
    with pytest.raises(OptionError, match="EVTX_ANALYZER_DOCS: expected an address"):
        documentation()


def test_no_cause_names_no_page():
    assert opening(report("attr35"), EN).page == ""


def test_counts_and_decimals_are_written_as_the_language_does():
    assert (EN.number(1234567), DE.number(1234567)) == ("1,234,567", "1.234.567")
    assert (EN.digits("-3.5"), DE.digits("-3.5")) == ("-3.5", "-3,5")
    text = "the clock is 1.250 s ahead of the remote side's (median of 1,200); no time is shifted for it"
    assert "1,250 s" in DE.sentence(text)
    assert "(Median aus 1.200)" in DE.sentence(text)
    assert "26.956" in DE.sentence("1 row, 26,956 characters")


def section(case, title, say=EN):
    return [part for part in outline(report(case), say) if part.title == title]


def test_where_no_cause_is_named_the_first_block_tells_what_stands_out():
    """A failed check of the certificate that was sent is no proof, and nobody looks for it below."""
    assert "800B0110" in opening(report("check-failed"), EN).coincident[0]
    assert section("check-failed", "What stands out, and proves nothing")[0].opening
    # A check of another process near in time has no sentence of its own: it is noise.
    assert opening(report("other-process"), EN).coincident == ()
    # Where a cause is named, the others stand with their evidence below.
    assert opening(report("remote-untrusted"), EN).coincident == ()


def test_what_only_the_reader_knows_is_to_be_filled_in():
    note = "Replace what stands in <angle brackets> before you run a command."
    assert note in str(section("expired", "Fix")[0].blocks[0])
    assert note not in str(section("starttls-not-offered", "Fix")[0].blocks[0])
    # <I> and <S> of TlsCertificateName are no placeholders.
    assert to_fill_in(["> Set-SendConnector -Identity 'x' -TlsCertificateName '<I>CN=a<S>CN=b'"], EN) == ""
    assert to_fill_in(["A sentence on <the connector>."], EN) == ""


def test_a_fix_that_worked_leaves_nothing_to_collect():
    assert section("fixed", "Fix")
    assert not section("fixed", "How to collect what is missing")
    assert section("kb-3212877", "How to collect what is missing")


def test_causes_that_are_ruled_out_by_one_reason_share_a_line():
    bullets = section("source-ip", "Other causes, and why not")[0].blocks[0].bullets
    reasons = [bullet.text.partition(": ")[2] for bullet in bullets if bullet.sign == "contradicted"]
    assert len(reasons) == len(set(reasons))
    assert any(bullet.text.startswith("missing-intermediate, intermediate-expired, ") for bullet in bullets)


@pytest.mark.parametrize(("kind", "code", "text"), [("capi2", "de", "CAPI2-Protokoll"), ("postfix", "en", "postfix")])
def test_logs_have_the_names_that_readers_know(kind, code, text):
    assert kind_text(kind, language.load(code)) == text
