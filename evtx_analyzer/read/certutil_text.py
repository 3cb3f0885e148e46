"""What ``certutil -store`` and ``certutil -verifystore`` print of certificate stores, with and without ``-v``.

    CA "Intermediate Certification Authorities"
    ================ Certificate 0 ================
    Serial Number: 06376c00aa00648a11cfb8d4aa5c35f4
    Issuer: CN=Root Agency
     NotBefore: 5/28/1996 3:02 PM
     NotAfter: 12/31/2039 4:59 PM
    Subject: CN=Root Agency
    Cert Hash(sha1): fee449ee0e3965a5246f000e87fde2a065fd89d4
    No key provider information
    CertUtil: -store command completed successfully.

Sources: certutil reference of windowsserverdocs (``-store [CertificateStoreName [CertId ...]]``), outputs in articles
of Microsoft on KeySpec (``certutil -v -store my``) and in public threads, English and German. Labels are in the
language of the machine; what decides here is the same in all: the order of the values, ``(sha1)``, identifiers of
objects, names of stores. Older Windows prints the hash with blanks. The number of an entry is its place in the store,
also where a CertId picked it. Umlauts may be damaged: a console copies its own code page. ``-store`` reads the stores
of the machine unless ``-user`` is given, which the output does not show: the location is known from a command line in
the copy only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from msgspec import Struct
from msgspec.structs import replace

from evtx_analyzer.clock import DateOrder
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.stores import KeyTest, PrivateKey, StoreEntry
from evtx_analyzer.read.lines import as_lines, date_order, lines, lost_lines

STORES = {
    name.casefold(): name
    for name in ("My", "CA", "Root", "AuthRoot", "Trust", "Disallowed", "TrustedPublisher", "TrustedPeople")
} | {"webhosting": "WebHosting", "remote desktop": "Remote Desktop", "request": "REQUEST"}
"""Names of stores as Windows writes them, by the name in lower case (System Store Locations)."""

_ENTRY = re.compile(r"=+ (\S[^=]*?) (\d+) =+\s*$")
_NESTED = re.compile(r"nest|chachtel", re.IGNORECASE)
# Revocation lists and trust lists stand in the same stores.
_LISTS = re.compile(r"\b(?:CRL|CTL)\b|perrliste|vertrauensliste", re.IGNORECASE)
_HEADING = re.compile(r"\"?([A-Za-z][A-Za-z ]{0,30}?)\"?(?:\s+\"[^\"]*\")?\s*$")
_COMMAND = re.compile(r"certutil(?:\.exe)?\"?\s+(?=.{0,300}-(?:store|verifystore)\b)(.*)$", re.IGNORECASE)
_RESULT = re.compile(r"CertUtil:\s", re.IGNORECASE)
_FAILED = re.compile(r"0x8[0-9a-f]{7}", re.IGNORECASE)
_HASH = re.compile(r"\(sha1\)\s*:\s*((?:[0-9a-f]\s*){40})(?![0-9a-f])", re.IGNORECASE)
_HEX_VALUE = re.compile(r"[^:=]+:\s*((?:[0-9a-f]{2} ?){1,32})$", re.IGNORECASE)
_NAME = r"(?:[A-Za-z][A-Za-z0-9.-]*|[0-9.]+)=.*"
_COMPACT_NAME = re.compile(rf"[^\s:=][^:=]*:\s*({_NAME}|EMPTY\b.*)$")
_LONG_NAME = re.compile(r"\S[^:=]*:$")
_NAME_PART = re.compile(rf" {{4}}({_NAME})$")
_DATED = re.compile(r" ?[^:=]+:\s*(\d{1,4}[./-] ?\d{1,2}[./-] ?\d{1,4}\.?,?\s+\d{1,2}[:.]\d\d.*)$")
_PROVIDER = re.compile(r"\s+[^=\s][^=]*= (.*(?:Provider|Anbieter|Fournisseur|Cryptograph).*)$", re.IGNORECASE)
_KEY_SPEC = re.compile(r"(?:KeySpec\s*)?= ?(\d+) -- (?:XCN_)?AT_(\w+)|KeySpec\s*= ?(\d+)")
_NO_KEY = re.compile(r"^(?:No key provider information|Missing stored keyset|Kein\w* Schl\S{1,4}ssel|Fehlender)")
_NO_PROVIDER = re.compile(r"^(?:No key provider information|Kein\w* Schl\S{1,4}sselanbieter)")
_PASSED = re.compile(
    r"test passed|test wurde durchgef|key verifies|(?:Verschl\S{1,4}sselungs|Signatur)test.*(?:erfolg|bestand)"
)
_TEST_FAILED = re.compile(r"test FAILED|(?:Verschl\S{1,4}sselungs|Signatur)test.*(?:fehl|nicht)", re.IGNORECASE)
_VALID = re.compile(r"^(?:Certificate is valid|Das Zertifikat ist g|Zertifikat ist g)")
_ARCHIVED = re.compile(r"^(?:Archived!|Archiviert!)")
_OID = re.compile(r"(?:^\s+|\()(\d+(?:\.\d+){2,})[):]")
_KEY_ID = re.compile(r"(?:^\s+|=)((?:[0-9a-f]{2} ?){20})(?:\s*\(.*\))?\s*$", re.IGNORECASE)
_LINK = re.compile(r"URL=(\S+)")
_DNS = re.compile(r"DNS.Name=(\S+)", re.IGNORECASE)
_SUBJECT_KEY, _ISSUER_KEY, _NAMES, _ISSUERS = "2.5.29.14", "2.5.29.35", "2.5.29.17", "1.3.6.1.5.5.7.48.2"
_SENTENCE = re.compile(
    r"(?:Non-root|Root Cert|Cert|CA Ver|Sign|Templ|No key|Private|Encrypt|Missing|Cannot|Archi|Kein|Stamm|Zertifi|"
    r"Die |Der |Das |"
    r"Vorlage|Verschl|Fehl)"
)
_NEXT_PART = re.compile(r" [A-Za-z][A-Za-z0-9.]*=\S")
_CONSOLE = 60  # columns; no console is narrower
_NAME_COUNT = 2  # issuer and subject
_LONGEST = 1000

Line = tuple[int, int, str]


class _Listing(Struct):
    """One store as it is listed: its heading, options of the command line in the copy, and the entries so far."""

    origin: Origin
    store: str
    location: str = ""
    picked: bool | None = None
    numbers: list[int] = []
    entries: list[StoreEntry] = []
    ended: bool = False


def is_certutil_text(head: bytes) -> bool:
    """Return whether a file begins with a store that certutil lists: an entry with a hash, or an empty store."""
    texts = [line[:_LONGEST] for line in as_lines(head)]
    if not any(_ENTRY.match(line) or _RESULT.match(line) for line in texts):
        return False
    text = "\n".join(texts)
    return _HASH.search(text) is not None or any(_heading(texts, number) for number in range(len(texts)))


def read_certutil_text(stream: BinaryIO, source: Origin) -> Iterator[StoreEntry | Loss]:
    """Yield a heading for every store in the text, then its entries; a Loss for an entry that is cut."""
    # Every pattern here is of one short line; what is longer was written by something else.
    text_lines = [(number, offset, text[:_LONGEST]) for number, offset, text in lines(stream)]
    texts = [text for _, _, text in text_lines]
    yield from lost_lines(text_lines, source)
    order: DateOrder = date_order(value[1] for text in texts if (value := _DATED.match(text)))
    width = max(map(len, texts), default=0)
    listing, place = _Listing(origin=source, store=""), 0
    command: tuple[str, bool | None] = ("", None)
    while place < len(text_lines):
        number, offset, text = text_lines[place]
        origin = replace(source, line=number, offset=offset)
        entry = _ENTRY.match(text)
        if (match := _COMMAND.search(text)) is not None:
            command = _command(match[1])
        elif (store := _heading(texts, place)) is not None:
            yield from _listed(listing)
            listing = _Listing(origin=origin, store=store, location=command[0], picked=command[1])
            command = ("", None)
        elif entry is not None and not _NESTED.search(entry[1]):
            end = next((at for at in range(place + 1, len(text_lines)) if _ends(texts, at)), len(text_lines))
            if not _LISTS.search(entry[1]):
                listing.numbers.append(int(entry[2]))
                listed_entry = _entry(text_lines[place + 1 : end], origin, listing, width, int(entry[2]), order)
                if isinstance(listed_entry, Loss):
                    yield listed_entry
                elif listed_entry is not None:
                    listing.entries.append(listed_entry)
            place = end
            continue
        elif _RESULT.match(text) and not listing.ended:
            # A command that failed may have listed a part of the store only.
            listing.ended = _FAILED.search(text) is None
            listing.picked = True if not listing.ended else listing.picked
        place += 1
    yield from _listed(listing)


def _heading(texts: Sequence[str], place: int) -> str | None:
    """Return the store that a line names: a known name alone, before an entry or the end of the command."""
    match = _HEADING.match(texts[place])
    name = STORES.get(match[1].casefold()) if match else None
    after = texts[place + 1] if place + 1 < len(texts) else ""
    return name if name and (_ENTRY.match(after) or _RESULT.match(after)) else None


def _ends(texts: Sequence[str], place: int) -> bool:
    """Return whether an entry ends before this line: at the next entry, the next store or the command's result."""
    text = texts[place]
    entry = _ENTRY.match(text)
    if entry is not None:
        return _NESTED.search(entry[1]) is None
    return bool(_RESULT.match(text) or _COMMAND.search(text)) or _heading(texts, place) is not None


def _command(arguments: str) -> tuple[str, bool | None]:
    """Return the location that a command line names, and whether it picks entries by a CertId."""
    words = re.findall(r"\"[^\"]*\"|'[^']*'|\S+", re.split(r"[>|&]", arguments)[0])
    options = {word.casefold() for word in words if word[0] in "-/"}
    values = [word for word in words if word[0] not in "-/"]
    if "-user" in options:
        return "CurrentUser", len(values) > 1
    # These options list only one part of a store, that of the enterprise, of group policy or of a service.
    part = bool(options & {"-enterprise", "-grouppolicy", "-service"})
    return "LocalMachine", part or len(values) > 1


def _listed(listing: _Listing) -> Iterator[StoreEntry]:
    """Yield the heading of a list and its entries; entries without a heading belong to an unknown store."""
    if not listing.store and not listing.entries:
        return
    expected = list(range(len(listing.numbers)))
    name = f"{listing.origin.line or 0}"
    whole: bool | None = None
    if listing.picked or listing.numbers != expected:
        whole = False
    elif listing.ended and listing.store and (listing.picked is False or not listing.entries):
        # An answer without entries means an empty store: a CertId that matches nothing fails with CRYPT_E_NOT_FOUND.
        whole = True
    yield StoreEntry(origin=listing.origin, store=listing.store, location=listing.location, listing=name, whole=whole)
    for entry in listing.entries:
        yield replace(entry, listing=name)


def _entry(
    text_lines: Sequence[Line], origin: Origin, listing: _Listing, width: int, number: int, order: str
) -> StoreEntry | Loss | None:
    """Return one entry of a store; a Loss if it is cut, None if its certificate is archived."""
    texts = _unfolded([text for _, _, text in text_lines], width)
    block = "\n".join(texts)
    # With -v, names and signatures have hashes too, on lines that are indented.
    own = [value[1] for text in texts if text[:1] not in (" ", "\t") and (value := _HASH.search(text))]
    if not (hashes := own or _HASH.findall(block)):
        reason = f"entry {number} of a certificate store is cut: it has no hash"
        return Loss(origin=origin, reason=reason, extent="1 certificate")
    if any(_ARCHIVED.match(text) for text in texts):
        return None
    certificate_hash = _without_blanks(hashes[-1])
    issuer, subject = _names(texts)
    dates = [value[1].strip() for text in texts if (value := _DATED.match(text))][:2]
    of_extensions = _extensions(texts)
    # Of the hex values in an entry, the serial number comes first; labels are in the machine's language.
    serial = next((value[1] for text in texts if (value := _HEX_VALUE.match(text))), "")
    certificate = Certificate(
        thumbprint=certificate_hash,
        subject=subject,
        issuer=issuer,
        serial=_without_blanks(serial).lstrip("0"),
        alternate_names=tuple(of_extensions[_NAMES]),
        subject_key_id="".join(of_extensions[_SUBJECT_KEY][:1]),
        authority_key_id="".join(of_extensions[_ISSUER_KEY][:1]),
        issuer_urls=tuple(of_extensions[_ISSUERS]),
    )
    return StoreEntry(
        origin=origin,
        store=listing.store,
        location=listing.location,
        certificate=certificate,
        key=_key(texts, certificate_hash),
        number=number,
        dates=(dates[0], dates[1]) if len(dates) == 2 else ("", ""),  # noqa: PLR2004  from and to
        order=order,
        verified=_verified(texts),
    )


def _unfolded(texts: Sequence[str], width: int) -> list[str]:
    """Return the lines, with those joined again that a console cut at its width.

    The width of a console is a round number. Redirected output is never cut, and its longest line may have any length.
    """
    if width < _CONSOLE or width % 10:
        return list(texts)
    whole: list[str] = []
    cut = False
    for text in texts:
        indented = text[:1] in (" ", "=") and _NEXT_PART.match(text) is None
        begins = indented or ": " in text or text.endswith(":") or _SENTENCE.match(text)
        if cut and not begins:
            whole[-1] += text
        else:
            whole.append(text)
        cut = len(text) == width
    return whole


def _without_blanks(text: str) -> str:
    return re.sub(r"\s", "", text).upper()


def _names(texts: Sequence[str]) -> tuple[str, str]:
    """Return issuer and subject, which stand in this order, each on one line, or with ``-v`` one part a line."""
    names: list[str] = []
    for place, text in enumerate(texts):
        short = _COMPACT_NAME.match(text)
        if short is not None:
            names.append("" if short[1].startswith("EMPTY") else short[1].strip())
        elif _LONG_NAME.match(text):
            parts = []
            for after in texts[place + 1 :]:
                part = _NAME_PART.match(after)
                if part is None:
                    break
                parts.append(part[1].strip())
            names += [", ".join(parts)] if parts else []
        if len(names) == _NAME_COUNT:
            return names[0], names[1]
    return (names[0], "") if names else ("", "")


def _extensions(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return the key ids, DNS names and issuer URLs that ``-v`` shows, by the OID of their extension."""
    values: dict[str, list[str]] = {_SUBJECT_KEY: [], _ISSUER_KEY: [], _NAMES: [], _ISSUERS: []}
    section = ""
    forms = {_SUBJECT_KEY: _KEY_ID, _ISSUER_KEY: _KEY_ID, _NAMES: _DNS, _ISSUERS: _LINK}
    for text in texts:
        if (oid := _OID.search(text)) is not None:
            section = oid[1]
        elif section in forms and (value := forms[section].search(text)) is not None:
            key_id = section in (_SUBJECT_KEY, _ISSUER_KEY)
            values[section].append(_without_blanks(value[1]) if key_id else value[1])
        elif text[:1] not in (" ", "\t"):
            section = ""
    return values


def _key(texts: Sequence[str], thumbprint: str) -> PrivateKey | None:
    """Return what the entry says about its private key; None where it says nothing."""
    provider = next((value[1].strip() for text in texts if (value := _PROVIDER.match(text))), "")
    spec = next((value for text in texts if (value := _KEY_SPEC.search(text))), None)
    test: KeyTest = ""
    if any(_TEST_FAILED.search(text) for text in texts):
        test = "failed"
    elif any(_PASSED.search(text) for text in texts):
        test = "passed"
    missing = any(_NO_KEY.match(text) for text in texts)
    present = True if test == "passed" else False if missing else None
    if present is None and not provider:
        return None
    return PrivateKey(
        thumbprint=thumbprint,
        present=present,
        provider="" if any(_NO_PROVIDER.match(text) for text in texts) else provider,
        key_spec="" if spec is None else (f"AT_{spec[2]}" if spec[2] and spec[2] != "NONE" else (spec[1] or spec[3])),
        test=test,
    )


def _verified(texts: Sequence[str]) -> str:
    """Return the result of ``-verifystore`` for the entry: ``0``, or the last error code in it as hex."""
    if any(_VALID.match(text) for text in texts):
        return "0"
    codes = [value[0] for text in texts if (value := _FAILED.search(text))]
    return codes[-1][2:].upper() if codes else ""
