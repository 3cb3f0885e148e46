"""SMTP logs of any size: a block of twenty interleaved sessions is written once with the samples' rows and then
repeated, many at a time, with new times, session ids, ports, message ids and recipients in fields of fixed width.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.facts import Facts
from samples import cases
from samples.smtp import FRONT_END, REFUSAL, SEND_HEADER, W3C_HEADER, SendSession, iis_row, iso

START = datetime(2016, 12, 1, tzinfo=UTC)
AT_ONCE = 20  # sessions of a block, all open at the same time
STAGGER = 37  # ms between their starts
HANDSHAKE = 301  # ms after a session's start: the row of the certificate sent, where the wait for CAPI2 begins
ROLL = 10 << 20  # Exchange begins a new file at 10 MB
_BATCH = 64  # blocks made at a time: about 5 MB
_ACCEPTED = "250 2.1.5 Recipient OK"
_REFUSES = b"5.7.64"
_ID, _NUMBER, _PORT = "08D50D3DFFFFFFFF", 987654321, 54321
_TOKENS = re.compile(
    rb"(?P<id>(?<=08D50D3D)FFFFFFFF)|(?P<number>987654321)|(?P<port>(?<=:)54321)|(?P<clock>Thu,.01.Dec.2016.00:00:00)"
)
# Where digits and letters stand, without what is between them: of a row's time, and of a banner's.
_ROW_TIME = np.array([0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21, 22])
_CLOCK = np.array([0, 1, 2, 5, 6, 8, 9, 10, 12, 13, 14, 15, 17, 18, 20, 21, 23, 24])
_DAY = 86_400_000  # ms
Bytes = NDArray[np.uint8]
Longs = NDArray[np.int64]
Row = tuple[int, str]  # ms after the session's start, text
Maker = Callable[[int, str], list[Row]]  # slot and last reply to the rows of a session


def _table(values: Sequence[str]) -> Bytes:
    return np.frombuffer("".join(values).encode(), np.uint8).reshape(len(values), -1)


_SECONDS = _table([f"{n // 3600:02}{n // 60 % 60:02}{n % 60:02}" for n in range(86_400)])
_THOUSAND = _table([f"{n:03}" for n in range(1000)])
_HEX = np.frombuffer(b"0123456789ABCDEF", np.uint8)


@dataclass(frozen=True)
class _Block:
    """Rows of twenty sessions; for each kind of field its places, its slots, and ms after the block's start."""

    data: Bytes
    rows: int
    replies: int  # that refuse
    fields: dict[str, tuple[Longs, Longs, Longs]]
    refused: tuple[int, ...]


@dataclass(frozen=True)
class Times:
    """When sessions were refused: the start of their handshakes in milliseconds since 1970."""

    refused: tuple[int, ...]


def send_log(
    path: Path, size: int, refused: float, *, period: float = 4.0, roll: int = 0, start: datetime = START
) -> tuple[Facts, Times]:
    """Write a Send connector log of about ``size`` bytes; the share ``refused`` of its sessions is refused.

    A block of twenty sessions begins every ``period`` seconds. With ``roll`` the path is a folder, in which a new file
    begins wherever that size is reached, as Exchange does it: sessions cross files.
    """
    return _write(
        path, size, refused, _send_session, 24, lambda time: SEND_HEADER.format(date=iso(time)), period, roll, start
    )


def iis_log(
    path: Path, size: int, refused: float, *, period: float = 4.0, start: datetime = START
) -> tuple[Facts, Times]:
    """Write an IIS SMTP log in W3C format; its connections go to twenty addresses, for it has no session ids."""

    def header(time: datetime) -> str:
        return W3C_HEADER.format(date=f"{time:%Y-%m-%d %H:%M:%S}")

    return _write(path, size, refused, _iis_session, 19, header, period, 0, start)


def _recipient_domain(reply: str, *, partner: bool = False) -> str:
    """Mail to the own tenant is accepted whatever the attribution, so it says nothing against the cause."""
    return "servername.onmicrosoft.com" if reply == _ACCEPTED and not partner else "fabrikam.com"


def _send_session(slot: int, reply: str) -> list[Row]:
    """Every seventh session goes to a partner without TLS; every third message has two recipients."""
    session = SendSession(START, _ID, local=f"10.10.248.7:{_PORT}", remote=f"216.32.181.{200 + slot}:25")
    partner = slot % 7 == 6 and reply == _ACCEPTED
    if partner:
        session.connector, session.remote = "Partner", "198.51.100.9:25"
        session.connect(banner="mx.fabrikam.com")
    else:
        session.connect().starttls(cases.LEAF)
    domain = _recipient_domain(reply, partner=partner)
    recipients = [(f"{name}{_NUMBER}@{domain}", reply) for name in ("b", "d")[: 1 + (slot % 3 == 2)]]
    session.message(700, f"a{slot}@servername.com", recipients, _NUMBER).quit(1300)
    return [(after, text) for (after, *_), (_, text) in zip(session.rows, session.lines(), strict=True)]


def _iis_session(slot: int, reply: str) -> list[Row]:
    greeting = f"220 {FRONT_END} Microsoft ESMTP MAIL Service ready at Thu, 01 Dec 2016 00:00:00 +0000"
    rows = [
        (94, "<", "", greeting),
        (94, ">", "EHLO", "CORP-SMTP1.ServerName.com"),
        (171, "<", "", f"250-{FRONT_END} Hello [203.0.113.7]"),
        (188, ">", "STARTTLS", ""),
        (281, "<", "", "220 2.0.0 SMTP server ready"),
        (611, ">", "EHLO", "CORP-SMTP1.ServerName.com"),
        (700, "<", "", f"250-{FRONT_END} Hello [203.0.113.7]"),
        (700, ">", "MAIL", f"FROM:<crm{slot}@servername.com> SIZE=1722"),
        (790, "<", "", "250 2.1.0 Sender OK"),
        (790, ">", "RCPT", f"TO:<e{_NUMBER}@{_recipient_domain(reply)}>"),
        (884, "<", "", reply),
    ]
    if reply == _ACCEPTED:
        rows += [
            (884, ">", "DATA", ""),
            (970, "<", "", "354 Start mail input; end with <CRLF>.<CRLF>"),
            (1170, "<", "", f"250 2.6.0 <e{_NUMBER}@servername.com> [InternalId={_NUMBER}] Queued mail for delivery"),
        ]
    else:
        rows += [(884, ">", "RSET", ""), (970, "<", "", "250 2.0.0 Resetting")]
    rows.append((1170, ">", "QUIT", ""))
    remote = f"216.32.181.{200 + slot}"
    return [(row[0], iis_row(START, row[0], "CORP-SMTP1", remote, *row[1:]).rstrip("\r\n")) for row in rows]


def _write(
    path: Path,
    size: int,
    share: float,
    maker: Maker,
    width: int,
    header: Callable[[datetime], str],
    period: float,
    roll: int,
    start: datetime,
) -> tuple[Facts, Times]:
    """Write blocks until the size is reached; ``width`` is that of a row's time."""
    blocks: dict[int, _Block] = {}
    sessions = refused = replies = rows = written = 0
    times: list[int] = []
    step, base = int(period * 1000), int(start.timestamp() * 1000)
    with _Files(path, roll, header) as files:
        number = 0
        while written < size:
            counts = [
                int((n + 1) * AT_ONCE * share + 1e-9) - int(n * AT_ONCE * share + 1e-9)
                for n in range(number, number + _BATCH)
            ]
            for count in set(counts) - set(blocks):
                blocks[count] = _block(maker, count, width)
            made: dict[int, Bytes] = {}
            for count in set(counts):
                own = np.array([number + n for n, item in enumerate(counts) if item == count])
                made |= dict(zip(own.tolist(), _copies(blocks[count], own, base + own * step), strict=True))
            for count in counts:
                at = base + number * step
                files.write(made[number], at)
                written += len(made[number])
                sessions, refused, number = sessions + AT_ONCE, refused + count, number + 1
                rows, replies = rows + blocks[count].rows, replies + blocks[count].replies
                times += [at + slot * STAGGER + HANDSHAKE for slot in blocks[count].refused]
                if written >= size:
                    break
    facts = Facts(size=files.size, sessions=sessions, refused=refused, rejections=replies, records=rows)
    return facts, Times(tuple(times))


class _Files:
    """The file or, if it rolls, the files of a log, numbered within the hour; each begins with the header."""

    def __init__(self, path: Path, roll: int, header: Callable[[datetime], str]) -> None:
        self._path, self._roll, self._header = path, roll, header
        self._out: IO[bytes] | None = None
        self._room = self._number = self.size = 0
        self._hour = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._out:
            self._out.close()

    def write(self, block: Bytes, time: int) -> None:
        """Write rows of about this time (milliseconds since 1970), cut at a row's end where a file is full."""
        if self._out is None:
            self._begin(time)
        assert self._out
        if self._roll and len(block) > self._room:
            data = block.tobytes()
            cut = data.rfind(b"\n", 0, max(self._room, 0)) + 1
            self._put(data[:cut])
            self._out.close()
            self._begin(time)
            self._put(data[cut:])
        else:
            self._put(block.data)

    def _begin(self, time: int) -> None:
        moment = datetime.fromtimestamp(time // 1000, UTC)
        hour = f"SEND{moment:%Y%m%d%H}"
        self._number = self._number + 1 if hour == self._hour else 1
        self._hour = hour
        path = self._path / f"{hour}-{self._number}.LOG" if self._roll else self._path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._out = path.open("wb")
        self._room = self._roll
        self._put(self._header(moment).encode())

    def _put(self, data: memoryview | bytes) -> None:
        assert self._out
        self._out.write(data)
        self.size += len(data)
        self._room -= len(data)


def _block(maker: Maker, refused: int, width: int) -> _Block:
    """A block in which that many of its sessions are refused, spread evenly."""
    bad = tuple(sorted((5 + number * AT_ONCE // refused) % AT_ONCE for number in range(refused)))
    rows: list[tuple[int, int, str]] = []
    for slot in range(AT_ONCE):
        made = maker(slot, REFUSAL if slot in bad else _ACCEPTED)
        rows += [(slot * STAGGER + after, slot, text) for after, text in made]
    # A session's rows stay in order, for sorting is stable. Times are those of the log: whole seconds in IIS's.
    rows.sort(key=lambda row: row[0])
    data = bytearray()
    found: dict[str, list[tuple[int, int, int]]] = {}
    for after, slot, text in rows:
        line = text.encode() + b"\r\n"
        found.setdefault("seconds" if width == 19 else "time", []).append((len(data), slot, after))
        for token in _TOKENS.finditer(line):
            assert token.lastgroup
            found.setdefault(token.lastgroup, []).append((len(data) + token.start(), slot, slot * STAGGER))
        data += line
    fields = {}
    for kind, places in found.items():
        table = np.array(places)
        fields[kind] = (table[:, 0], table[:, 1], table[:, 2])
    return _Block(np.frombuffer(bytes(data), np.uint8), len(rows), data.count(_REFUSES), fields, bad)


def _copies(block: _Block, numbers: Longs, starts: Longs) -> Bytes:
    """Copies of a block, one for each number and start (milliseconds since 1970)."""
    made = np.tile(block.data, (len(numbers), 1))
    for kind, (places, slots, after) in block.fields.items():
        own = numbers[:, None] * AT_ONCE + slots  # the number of the session
        times = starts[:, None] + after
        if kind == "time":
            _put(made, places, _ROW_TIME, _moments(times))
        elif kind == "seconds":
            _put(made, places, _ROW_TIME[:14], _moments(times)[..., :14])
        elif kind == "clock":
            _put(made, places, _CLOCK, _banner(times))
        elif kind == "id":
            _put(made, places, np.arange(8), _HEX[(own[..., None] >> np.arange(28, -1, -4)) & 15])
        elif kind == "port":
            _put(made, places, np.arange(5), _decimal(10_000 + own % 50_000, 5))
        else:
            _put(made, places, np.arange(9), _decimal(100_000_000 + own, 9))
    return made


def _put(made: Bytes, places: Longs, columns: Longs, values: Bytes) -> None:
    """Write values of shape (copies, places, columns) where the columns of each place are."""
    made[:, (places[:, None] + columns).ravel()] = values.reshape(len(made), -1)


def _moments(times: Longs) -> Bytes:
    """YYYYMMDDHHMMSSmmm."""
    seconds = times % _DAY
    return np.concatenate([_dates(times, "%Y%m%d"), _SECONDS[seconds // 1000], _THOUSAND[seconds % 1000]], axis=-1)


def _banner(times: Longs) -> Bytes:
    """As a banner has it, without what is between: Thu01Dec2016030955."""
    return np.concatenate([_dates(times, "%a%d%b%Y"), _SECONDS[times % _DAY // 1000]], axis=-1)


def _dates(times: Longs, form: str) -> Bytes:
    days = times // _DAY
    first = int(days.min())
    table = [f"{START.fromtimestamp(0, UTC) + timedelta(days=day):{form}}" for day in range(first, int(days.max()) + 1)]
    return _table(table)[days - first]


def _decimal(values: Longs, width: int) -> Bytes:
    return (values[..., None] // 10 ** np.arange(width - 1, -1, -1) % 10 + ord("0")).astype(np.uint8)
