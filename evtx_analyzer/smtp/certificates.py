"""Read the certificates that a Send connector log shows for the TLS handshake, in all three forms.

Form A (Exchange 2010-2013): ``Sending certificate`` in the context of one row, then a row for each attribute, then
``Received certificate`` and the thumbprint of the remote side. Form B (early 2016): one row with the labels in the
context and the values, joined by blanks, in the data: subject, issuer, serial, thumbprint, names. Form C (later 2016,
2019): the same with two dates before the names. B and C are read from the right, because subject and issuer hold
blanks themselves. Where the subject ends and the issuer begins cannot be known for certain. Sources: KB 4051498,
AndiBellstedt/ExchangeLogs, real logs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from evtx_analyzer import clock
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.events import SmtpEvent

_SENT = ("sending certificate", "local certificate")
_RECEIVED = ("received certificate", "remote certificate")
_LABELS = {
    "certificate subject": "subject",
    "certificate issuer name": "issuer",
    "certificate serial number": "serial",
    "certificate thumbprint": "thumbprint",
    "certificate alternate names": "alternate_names",
}
# Stands for missing rows: attributes that come after them may belong to the other certificate.
_GAP = ("gap", "")
_THUMBPRINT = re.compile(r"[0-9A-Fa-f]{40}")
_SERIAL = re.compile(r"[0-9A-Fa-f]{2,64}")
_FIRST_PART = re.compile(r"(?<=[^,;+\\]) (?=(?:CN|OU|O|E|L|S|ST|C|DC|SERIALNUMBER|OID\.[\d.]+)=)")


def certificates(rows: Sequence[SmtpEvent]) -> tuple[Certificate | None, Certificate | None]:
    """Return the certificate sent and the one received, from the rows of one session in their order; None if absent."""
    shown: list[tuple[str, str]] = []
    last: int | None = None
    for row in rows:
        if row.direction != "*" or not (context := _certificate_context(row.context)):
            continue
        if row.sequence is not None and last is not None and row.sequence != last + 1:
            shown.append(_GAP)
        shown.append((context, row.text))
        last = row.sequence
    return _certificates(tuple(shown))


@lru_cache(maxsize=256)
def _certificate_context(context: str) -> str:
    """Return the context of a row about a certificate in lower case; empty for any other row."""
    folded = context.strip().casefold()
    return folded if folded in _LABELS or _side(folded) else ""


@lru_cache(maxsize=64)
def _certificates(shown: tuple[tuple[str, str], ...]) -> tuple[Certificate | None, Certificate | None]:
    """Return certificates from pairs of context and text; cached, for most sessions of a log show the same ones."""
    attributes: dict[str, dict[str, str]] = {}
    whole: dict[str, Certificate] = {}
    side = ""
    for context, text in shown:
        side = "" if context == _GAP[0] else _side(context) or side
        if context in _LABELS and side:
            attributes.setdefault(side, {}).setdefault(_LABELS[context], text.strip())
        elif _side(context) and text.strip():
            whole.setdefault(side, one_row(text))
    form_a = {side: _from_attributes(values) for side, values in attributes.items()}
    return whole.get("sent") or form_a.get("sent"), whole.get("received") or form_a.get("received")


def one_row(data: str) -> Certificate:
    """Return a certificate that stands in one row (forms B and C); without a thumbprint all of it is the subject."""
    words = data.split(" ")
    places = [number for number, word in enumerate(words) if _THUMBPRINT.fullmatch(word)]
    if not places:
        return Certificate(subject=data.strip())
    place = places[-1]
    after = words[place + 1 :]
    count = next((number for number, word in enumerate(after) if clock.from_iso(word) is None), len(after))
    dates, alternate_names = after[:count], after[count:]
    serial = words[place - 1] if place and _SERIAL.fullmatch(words[place - 1]) else ""
    names = words[: place - 1] if serial else words[:place]
    subject, issuer = split_names(" ".join(names).strip())
    return Certificate(
        thumbprint=words[place].upper(),
        serial=serial,
        subject=subject,
        issuer=issuer,
        not_before=clock.from_iso(dates[0]) if dates else None,
        not_after=clock.from_iso(dates[1]) if len(dates) > 1 else None,
        alternate_names=_names(" ".join(alternate_names)),
    )


def split_names(text: str) -> tuple[str, str]:
    """Return subject and issuer from their text joined by a blank.

    The issuer begins at the first attribute (``CN=``) that follows a blank without a comma before it. Where there is
    none, the whole text is the subject and the issuer is empty.
    """
    parts = _FIRST_PART.split(text)
    if len(parts) == 1:
        # A self-signed certificate whose name has no attributes: the same text twice.
        half = len(text) // 2
        same = len(text) % 2 and text[half] == " " and text[:half] == text[half + 1 :]
        return (text[:half], text[:half]) if same else (text, "")
    return parts[0].strip(), " ".join(parts[1:]).strip()


def _side(context: str) -> str:
    """Return ``sent`` or ``received``; empty where a context begins no certificate."""
    if context.startswith(_SENT):
        return "sent"
    return "received" if context.startswith(_RECEIVED) else ""


def _from_attributes(values: dict[str, str]) -> Certificate:
    return Certificate(
        thumbprint=values.get("thumbprint", "").upper(),
        subject=values.get("subject", ""),
        issuer=values.get("issuer", ""),
        serial=values.get("serial", ""),
        alternate_names=_names(values.get("alternate_names", "")),
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in re.split(r"[;\s]+", text.strip()) if name)
