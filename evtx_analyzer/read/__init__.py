"""Bytes to records, by content and never by file name. To add a syntax: one file here, one line in ``SYNTAXES``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

from evtx_analyzer.model.events import CertificateFile
from evtx_analyzer.model.manifest import CollectorManifest
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.model.records import CountedRecords, EventRecord, LogRow
from evtx_analyzer.model.stores import StoreEntry
from evtx_analyzer.read.capture import is_capture, is_etl, read_etl
from evtx_analyzer.read.certificate_files import is_certificate_file, read_certificate_file
from evtx_analyzer.read.certutil_text import is_certutil_text, read_certutil_text
from evtx_analyzer.read.collected_rows import is_collected, read_collected
from evtx_analyzer.read.collector_manifest import is_collector_manifest, read_collector_manifest
from evtx_analyzer.read.csv_export import is_csv_table, read_csv_table
from evtx_analyzer.read.event_json import is_event_csv, is_event_json, read_event_csv, read_event_json
from evtx_analyzer.read.event_list import is_message_export, read_message_export
from evtx_analyzer.read.event_xml import is_event_xml, read_event_xml
from evtx_analyzer.read.exchange_log import is_exchange_log, read_exchange_log
from evtx_analyzer.read.iis_log import is_iis_log, is_ncsa_log, read_iis_log, read_ncsa_log
from evtx_analyzer.read.json_export import is_json, read_json
from evtx_analyzer.read.mail import is_mail, is_mail_report, read_mail, text_before_attachments
from evtx_analyzer.read.not_read import document, is_not_read, other_log, read_not_read
from evtx_analyzer.read.outlook import is_outlook_message, read_outlook_message
from evtx_analyzer.read.pieces import Piece, record_pieces
from evtx_analyzer.read.powershell import is_clixml, is_list_text, read_clixml, read_list_text
from evtx_analyzer.read.serialized_store import is_serialized_store, read_serialized_store
from evtx_analyzer.read.store_rows import is_store_row, store_entry
from evtx_analyzer.read.table_text import is_table_text, read_table_text
from evtx_analyzer.read.w3c_log import is_w3c_log, read_w3c_log

if TYPE_CHECKING:
    from evtx_analyzer.read.evtx.reader import ChunkSelection
    from evtx_analyzer.read.evtx.search import Search

Record = EventRecord | LogRow | CertificateFile | StoreEntry | CollectorManifest
Readable = Record | CountedRecords | Loss
Reader = Callable[[BinaryIO, Origin], Iterator[Readable]]

CAPTURE = "network-trace"
_OBJECTS = ("clixml", "json", "csv-table", "console-text")

HEAD = 64 * 1024
"""How many bytes of a file decide what it is."""

_FILE_MAGIC, _CHUNK_MAGIC, _FIRST_CHUNK = b"ElfFile\0", b"ElfChnk\0", 4096


def _is_evtx(head: bytes) -> bool:
    """Return whether a file is an event log: by its own magic, or by a chunk, wherever that begins."""
    if head.startswith((_FILE_MAGIC, _CHUNK_MAGIC)) or head.startswith(_CHUNK_MAGIC, _FIRST_CHUNK):
        return True
    if _CHUNK_MAGIC not in head:
        return False
    from evtx_analyzer.read.evtx.aligned import first_header  # noqa: PLC0415  start-up cost, as below

    return first_header(head, 0, len(head)) is not None


def _is_mail_around_a_log(head: bytes) -> bool:
    """Return whether a file is a mail to which a log is attached as text, and not one into which a log was pasted."""
    before = text_before_attachments(head)
    return before is not None and not is_exchange_log(before) and not is_w3c_log(before)


def _read_evtx(stream: BinaryIO, source: Origin, selection: ChunkSelection | None = None) -> Iterator[Readable]:
    """Read an event log; the reader, with both of its decoders, is imported only where there is one."""
    from evtx_analyzer.read.evtx.reader import read_evtx  # noqa: PLC0415  start-up cost

    return read_evtx(stream, source, selection)


def _read_console_text(stream: BinaryIO, source: Origin) -> Iterator[Readable]:
    """Yield the objects of a copy from a console, which often holds both lists and tables."""
    data = stream.read()
    yield from read_list_text(BytesIO(data), source)
    yield from read_table_text(BytesIO(data), source)


# The first that recognizes a file takes it, so the most certain come first: magic numbers, then events, lists of them
# and mail, then headers that any text may quote, then rows without a header.
SYNTAXES: tuple[tuple[str, Callable[[bytes], bool], Reader], ...] = (
    ("evtx", _is_evtx, _read_evtx),
    # ``ingest/handshake_scan.py`` reads network traces, which have no records to normalize.
    (CAPTURE, is_capture, lambda *_: iter(())),
    ("etl", is_etl, read_etl),
    ("not-read", is_not_read, read_not_read),
    ("serialized-store", is_serialized_store, read_serialized_store),
    ("outlook-message", is_outlook_message, read_outlook_message),
    # Before XML, which it may hold in a text.
    ("event-json", is_event_json, read_event_json),
    ("event-csv", is_event_csv, read_event_csv),
    ("event-xml", is_event_xml, read_event_xml),
    ("message-export", is_message_export, read_message_export),
    ("clixml", is_clixml, read_clixml),
    ("mail", is_mail_report, read_mail),
    ("other-mail", _is_mail_around_a_log, read_mail),
    # Before the logs whose rows it holds, which are found in lines with other text before them too.
    ("collected-rows", is_collected, read_collected),
    ("exchange-log", is_exchange_log, read_exchange_log),
    ("w3c-log", is_w3c_log, read_w3c_log),
    ("collector-manifest", is_collector_manifest, read_collector_manifest),
    ("json", is_json, read_json),
    ("certutil-text", is_certutil_text, read_certutil_text),
    ("certificate", is_certificate_file, read_certificate_file),
    ("ncsa-log", is_ncsa_log, read_ncsa_log),
    ("iis-log", is_iis_log, read_iis_log),
    ("csv-table", is_csv_table, read_csv_table),
    ("console-text", lambda head: is_list_text(head) or is_table_text(head), _read_console_text),
    # Last, for a log may be pasted into a mail.
    ("other-mail", is_mail, read_mail),
)


def recognize(head: bytes) -> str | None:
    """Return the name of the syntax of a file that begins with ``head``; None if no syntax fits."""
    return next((name for name, recognizes, _ in SYNTAXES if recognizes(head)), None)


_FLAGS, _DIRTY = 120, 1  # libyal, "Windows XML Event Log (EVTX)": offset of the file header's flags, and its first bit


def notes(syntax: str | None, head: bytes) -> tuple[str, ...]:
    """Return remarks on a file as a whole that stand in its beginning and in no record."""
    if syntax == "evtx" and head.startswith(_FILE_MAGIC) and len(head) > _FLAGS and head[_FLAGS] & _DIRTY:
        return ("copied while Windows had the log open: records that it had not yet written down are not in it",)
    shown = document(head) if syntax is None else ""
    if syntax is None or syntax in _OBJECTS:
        shown = shown or other_log(head)
    return (shown,) if shown else ()


def read(syntax: str, stream: BinaryIO, source: Origin, selection: ChunkSelection | None = None) -> Iterator[Readable]:
    """Yield the records and losses of a stream in the given syntax.

    With a ``selection``, records of an event log may be counted instead of read one by one.
    """
    if syntax == "evtx" and selection is not None:
        return _read_evtx(stream, source, selection)
    records = next(reader for name, _, reader in SYNTAXES if name == syntax)(stream, source)
    return map(_with_store, records) if syntax in _OBJECTS else records


def _with_store(record: Readable) -> Readable:
    """Return the store entry of a row that is a certificate of a store; any other record as it is."""
    return store_entry(record) if isinstance(record, LogRow) and is_store_row(record) else record


def pieces(syntax: str, stream: BinaryIO, source: Origin, search: Search | None, counted: bytes) -> Iterator[Piece]:
    """Yield the pieces of an event log that was read before; see ``evtx_pieces`` for ``search`` and ``counted``."""
    if syntax == "evtx":
        from evtx_analyzer.read.evtx.pieces import evtx_pieces  # noqa: PLC0415  as above

        return evtx_pieces(stream, source, search, counted)
    return record_pieces(read(syntax, stream, source))
