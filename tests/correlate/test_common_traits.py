"""What the refused mail has in common, and sessions of which rows are missing: as every output shows them."""

from __future__ import annotations

import csv
import io
import re

import pytest
from evidence import rejection
from msgspec.structs import replace
from reports import as_text, report

from evtx_analyzer.correlate.incidents import incidents
from evtx_analyzer.model.evidence import CommonTrait
from evtx_analyzer.report import language
from evtx_analyzer.report.redact import redacted
from evtx_analyzer.report.shared import TRAITS, common_cells
from evtx_analyzer.report.terminal import to_terminal

EN, DE = language.ENGLISH, language.load("de")
TITLE = "What the refused mail has in common"
READABLE = (".txt", ".md", ".html")


def trait(name="null-sender", value="", accepted=0, compared=14):
    return CommonTrait(trait=name, value=value, refused=3, accepted=accepted, compared=compared)


def with_common(*traits):
    return replace(report("kb-3212877"), common=traits)


def output(made, suffix, say=EN):
    text = to_terminal(made, say, width=200) if suffix == ".txt" else as_text(made, suffix, say)
    return " ".join(text.replace("&lt;", "<").replace("&gt;", ">").split())


@pytest.mark.parametrize(
    ("accepted", "compared", "cells"),
    [
        (0, 14, ("0 of 14", "a clue")),
        (1, 14, ("1 of 14", "no clue")),
        (14, 14, ("14 of 14", "no clue")),
        (0, 0, ("not shown", "")),
    ],
)
def test_a_trait_that_accepted_mail_lacks_is_a_clue(accepted, compared, cells):
    found = common_cells(trait(accepted=accepted, compared=compared), EN)
    assert found == ("an empty sender (MAIL FROM:<>)", "3", *cells)


def test_every_trait_of_the_model_has_words():
    documented = re.findall(r"``([a-z-]+)``", CommonTrait.__doc__)
    assert set(documented) - set(CommonTrait.__struct_fields__) == set(TRAITS)
    for name in TRAITS:
        text = common_cells(trait(name, "VALUE"), EN)[0]
        assert ("VALUE" in text) == (name not in ("null-sender", "outside-recipients", "no-tls")), name


def test_a_trait_of_a_newer_report_is_shown_by_its_name():
    assert common_cells(trait("new-trait", "x"), EN)[0] == "new-trait x"


@pytest.mark.parametrize("suffix", READABLE)
def test_the_table_is_shown_in_every_readable_output(suffix):
    text = output(with_common(trait(), trait("connector", "Outbound", 9, 9)), suffix)
    for part in (
        TITLE,
        "an empty sender (MAIL FROM:<>)",
        "0 of 14",
        "a clue",
    ):
        assert part in text
    assert "the connector: Outbound" in text
    assert "9 of 9" in text


@pytest.mark.parametrize("suffix", READABLE)
def test_the_table_is_shown_in_german(suffix):
    text = output(with_common(trait(), trait("no-tls", compared=0)), suffix, DE)
    assert "Was die abgelehnte Mail gemeinsam hat" in text
    assert "0 von 14" in text
    assert "nicht gezeigt" in text


@pytest.mark.parametrize("suffix", READABLE)
def test_without_a_common_trait_there_is_no_table(suffix):
    assert TITLE not in output(with_common(), suffix)


@pytest.mark.parametrize("suffix", READABLE)
@pytest.mark.parametrize(("refused", "said"), [(3, True), (1, False)])
def test_without_accepted_mail_one_sentence_says_what_several_refusals_share(suffix, refused, said):
    """One refusal shares all with itself."""
    made = with_common(
        replace(trait("connector", "Outbound", compared=0), refused=refused),
        replace(trait("no-tls", compared=0), refused=refused),
    )
    text = output(made, suffix)
    sentence = "All refusals share: the connector: Outbound; no TLS. The logs show no accepted mail to outside"
    assert (TITLE in text, sentence in text, "clue" in text.split("</style>")[-1]) == (said, said, False)


def test_the_table_has_a_csv_of_its_own():
    made = with_common(trait("seen-address", "203.0.113.7", 2, 5))
    (row,) = csv.DictReader(io.StringIO(as_text(made, ".common.csv", EN)))
    assert row == {"trait": "seen-address", "value": "203.0.113.7", "refused": "3", "accepted": "2", "compared": "5"}


def test_values_of_traits_are_redacted_and_the_words_stay():
    made = with_common(
        trait("sender-domain", "fabrikam-mail.example"),
        trait("host", "PAYROLL7"),
        trait("connector", "To the bank"),
        trait("certificate", "C0FFEE" * 6 + "C0FF"),
        trait("seen-address", "203.0.113.77"),
    )
    hidden, _ = redacted(made, everything=True)
    for suffix in (*READABLE, ".common.csv", ".json"):
        text = output(hidden, suffix).casefold()
        kept = [name for name in ("fabrikam", "payroll7", "to the bank", "c0ffee", "203.0.113.77") if name in text]
        assert not kept, suffix
    assert [common_trait.trait for common_trait in hidden.common] == [item.trait for item in made.common]
    assert "C0FFEE" in redacted(made)[0].common[3].value, "thumbprints stay where only names are hidden"


# ---------------------------------------------------------------------------------------------------- excerpts


def excerpted(*refused):
    return replace(report("kb-3212877"), incidents=tuple(incidents(refused, [], {})))


def test_an_excerpt_is_said_once_per_incident_with_the_way_to_the_whole():
    cut = [rejection(id=f"R-{number}", from_start=False) for number in range(3)]
    whole = rejection(id="R-9", from_start=True)
    made = excerpted(*cut, whole)
    assert [incident.excerpt_count for incident in made.incidents] == [3]
    for suffix in READABLE:
        text = output(made, suffix)
        assert text.count("an excerpt: rows of the session are missing (3 of 4 refusals)") == 1
        assert "SEND.LOG: an excerpt" in text
        assert "Give the whole log file, unfiltered" in text
    assert "ein Auszug: Zeilen der Sitzung fehlen (3 von 4 Ablehnungen)" in output(made, ".txt", DE)


@pytest.mark.parametrize("kind", ["send-connector", "iis-smtp"])
def test_a_session_that_is_whole_is_no_excerpt(kind):
    made = excerpted(rejection(kind=kind, from_start=True))
    assert made.incidents[0].excerpt_count == 0
    assert "an excerpt" not in output(made, ".txt")


@pytest.mark.parametrize("kind", ["message-tracking", "ndr"])
def test_what_tells_of_messages_lacks_no_rows_of_a_session(kind):
    made = excerpted(rejection(kind=kind, from_start=False))
    assert made.incidents[0].excerpt_count == 0
    assert "an excerpt" not in output(made, ".txt")
