"""Plain text: what people may call persons, markers and purposes, so that it can be printed, stored and exported."""

from __future__ import annotations

import unicodedata

__all__ = ["MAX_LINE", "MAX_NAME", "check_plain"]

MAX_NAME = 100
"""Characters of a name, at most."""

MAX_LINE = 500
"""Characters of a purpose or a consent, at most."""

_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_KINDS = {"Cc": "a control character", "Cs": "half of a character"}


def check_plain(text: str, what: str, limit: int, *, lines: bool = False) -> str:
    r"""The text, if it is plain and not immense.

    Refused are characters that command a terminal (ESC, BEL, NUL and the like), lone surrogates, which no file can
    hold, and those that turn the order of the characters after them around, so that others read something else.

    Args:
        text: any text.
        what: what it is, with an article, for the sentence.
        limit: characters at most.
        lines: line breaks and tabs are allowed.

    Raises:
        ValueError: one phrase that names the character, or the length.

    >>> check_plain("李 Ana\u200d", "a name", 100) == "李 Ana\u200d"
    True
    >>> check_plain("Ana\x1b[2J", "a name", 100)
    Traceback (most recent call last):
    ValueError: a name cannot hold U+001B, a control character: write it without
    """
    if len(text) > limit:
        raise ValueError(f"{what} can have {limit} characters, not {len(text)}")
    for character in text:
        kind = _KINDS.get(unicodedata.category(character))
        if lines and character in "\n\r\t":
            continue
        if kind is None and character in _BIDI_CONTROLS:
            kind = "which turns the order of reading around"
        if kind is not None:
            raise ValueError(f"{what} cannot hold U+{ord(character):04X}, {kind}: write it without")
    return text
