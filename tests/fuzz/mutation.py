"""Changes at random, the same for the same seed: what damage does, and what somebody would try who means harm."""

from __future__ import annotations

import random
import struct

_TOKENS = (
    b"\0", b"\xff", b"\xb2", b"\xb3", b"\xed\xa0\x80", "²٣".encode(), b"9" * 40, b"-1", b"0x", b"1e999", b"\r", b"\n",
    b'"', b"'", b",", b";", b"<", b">", b"&#0;", b"]]>", b"[" * 300, b"{" * 300, b'{"a":' * 300, b"(" * 300, b"../",
    b"\x1b[31m", "\u202e".encode(), b"=1+1", b"\\ud800", b"_xD800_", b"5.7.64", b"550 5.7.64 [a.a.a ", b"0001-01-01",
    b"9999-12-31T23:59:59.999Z", b"**\0\0", b"ElfChnk\0", b"\x0c\x01", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f",
)  # fmt: skip


def mutate(data: bytes, others: tuple[bytes, ...], chance: random.Random) -> bytes:
    """The same data with one to eight changes."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        chance.choice(_CHANGES)(changed, others, chance)
    return bytes(changed)


def _place(data: bytearray, chance: random.Random) -> int:
    return chance.randrange(len(data) + 1)


def _flip(data: bytearray, _: tuple[bytes, ...], chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _set(data: bytearray, _: tuple[bytes, ...], chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.randrange(256)


def _number(data: bytearray, _: tuple[bytes, ...], chance: random.Random) -> None:
    form = chance.choice("BHIQ")
    size = struct.calcsize(f"<{form}")
    if len(data) >= size:
        number = chance.choice((0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), chance.randrange(2 ** (8 * size))))
        struct.pack_into(f"<{form}", data, chance.randrange(len(data) - size + 1), number)


def _delete(data: bytearray, _: tuple[bytes, ...], chance: random.Random) -> None:
    at = _place(data, chance)
    del data[at : at + chance.choice((1, 2, 8, 64, 512, 4096))]


def _cut(data: bytearray, _: tuple[bytes, ...], chance: random.Random) -> None:
    del data[_place(data, chance) :]


def _repeat(data: bytearray, _: tuple[bytes, ...], chance: random.Random) -> None:
    at = _place(data, chance)
    part = bytes(data[at : at + chance.choice((1, 4, 16, 256))])
    data[at:at] = part * chance.choice((1, 2, 16, 200))


def _token(data: bytearray, _: tuple[bytes, ...], chance: random.Random) -> None:
    at = _place(data, chance)
    token = chance.choice(_TOKENS)
    data[at : at + chance.choice((0, len(token)))] = token


def _splice(data: bytearray, others: tuple[bytes, ...], chance: random.Random) -> None:
    other = chance.choice(others)
    at, start = _place(data, chance), chance.randrange(len(other) + 1)
    data[at:at] = other[start : start + chance.choice((16, 256, 4096))]


def _swap(data: bytearray, _: tuple[bytes, ...], chance: random.Random) -> None:
    at, size = _place(data, chance), chance.choice((4, 64, 512))
    to = _place(data, chance)
    data[at : at + size], data[to : to + size] = data[to : to + size], data[at : at + size]


_CHANGES = (_flip, _flip, _set, _number, _delete, _cut, _repeat, _token, _token, _splice, _swap)
