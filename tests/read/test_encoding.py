"""Lines that are not UTF-8: the code page of the server is guessed by what its letters look like."""

from __future__ import annotations

import pytest

from evtx_analyzer.read.encoding import decode


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("到 Office 365 的发送连接器", "gbk"),
        ("2026-03-10T08:14:02.430Z,组织内 SMTP 发送连接器,08DE5A,0,,,*,,x", "gb2312"),
        ("Ausgehend über Büro 365", "cp1252"),
        ("Größe Fußgängerübergang", "cp1252"),
        ("Connecteur créé à Orléans – Noël", "cp1252"),
        ("Ñuñoa, São Paulo, Århus", "cp1252"),
        ("Löschen ‚Über‘ Äöüß", "cp1252"),
    ],
)
def test_a_line_of_a_code_page_is_read_as_it_was_written(text, encoding):
    assert decode(text.encode(encoding), "utf-8") == text


def test_text_that_is_utf_8_is_never_guessed():
    text = "到 Office 365 的发送连接器, Büro"
    assert decode(text.encode(), "utf-8") == text
