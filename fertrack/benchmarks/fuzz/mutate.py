"""Broken content by seed: bytes changed, cut off, zeroed, repeated; in texts also words that readers stumble over."""

from __future__ import annotations

import random

__all__ = ["broken"]

_WORDS = (
    *(
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\x1b[2J",
        b"\r",
        b"\n\n",
        b'"',
        b"'",
        b",",
        b";",
        b"\t",
        b"=",
        b"#",
        b"%00",
    ),
    *(b"nan", b"-inf", b"1e999", b"-1", b"0", b"99999999999999999999", b"1,5", b"1:60", b"true", b"[[[[[[[[" * 400),
    *(b"{a={a={a=" * 300, b"../", b"://", b"@", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"A" * 5000),
)


def broken(content: bytes, seed: int, *, is_text: bool = False) -> bytes:
    """Content that is broken in one to three ways; the same for the same seed.

    Args:
        content: whole content.
        seed: any number.
        is_text: whether words are put in, too.
    """
    chance = random.Random(seed)
    data = bytearray(content)
    ways = (_change, _cut, _zero, _repeat, _put_in_words) if is_text else (_change, _change, _cut, _zero, _repeat)
    for _ in range(chance.choice((1, 1, 2, 3))):
        chance.choice(ways)(data, chance)
    return bytes(data)


def _place(data: bytearray, chance: random.Random) -> int:
    """Anywhere, but often near the beginning, where formats say what they are."""
    return chance.randrange(min(len(data), chance.choice((256, 4096, len(data)))) or 1) if data else 0


def _change(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 3, 20, 200))):
        if data:
            data[_place(data, chance)] = chance.randrange(256)


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[_place(data, chance) :]


def _zero(data: bytearray, chance: random.Random) -> None:
    start, length = _place(data, chance), chance.choice((4, 16, 512, 4096))
    data[start : start + length] = bytes(min(length, max(len(data) - start, 0)))


def _repeat(data: bytearray, chance: random.Random) -> None:
    start, length = _place(data, chance), chance.choice((1, 16, 512))
    data[start:start] = data[start : start + length] * chance.choice((1, 2, 50))


def _put_in_words(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 2, 5))):
        start = _place(data, chance)
        data[start : start + chance.choice((0, 1, 4))] = chance.choice(_WORDS)
