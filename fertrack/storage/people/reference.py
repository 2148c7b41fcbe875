"""References to a person, as people type them: a name, ``P3``, ``3``, ``ID 5``; one reading for every command."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "ByName",
    "ByPerson",
    "ByTrack",
    "Reference",
    "RunPerson",
    "full_label",
    "hint",
    "matching",
    "parse",
    "person_label",
]

_PERSON = re.compile(r"(p?)\s*(\d{1,18})", re.IGNORECASE)
_TRACK = re.compile(r"(?:id|track)\s*(\d{1,18})", re.IGNORECASE)
_MAX_NAMED = 12


@dataclass(frozen=True, slots=True)
class ByName:
    """The person of that name, in any case."""

    name: str


@dataclass(frozen=True, slots=True)
class ByPerson:
    """The person of a number: ``P3``.

    Attributes:
        number: the number.
        or_track: nobody's track of that number is meant too, where no person has it: ``3``.
    """

    number: int
    or_track: bool = False


@dataclass(frozen=True, slots=True)
class ByTrack:
    """Whoever was followed as that track: ``ID 5``."""

    track: int


Reference = ByName | ByPerson | ByTrack


@dataclass(frozen=True, slots=True)
class RunPerson:
    """One person of a run: what every answer, report, video and right means by a person.

    Attributes:
        id: key in the database; 0 for a track that is nobody's, so that every track has a row.
        number: the number in ``P3``; 0 where id is.
        name: display name; empty if none was given.
        tracks: IDs of the person's tracks in the run, ascending; empty for somebody who is only suggested.
    """

    id: int
    number: int
    name: str
    tracks: tuple[int, ...]

    @property
    def label(self) -> str:
        """The name; ``P3`` where there is none; ``ID 5`` for a track that is nobody's."""
        return person_label(self.name, self.number) if self.id else f"ID {self.tracks[0]}"

    @property
    def full_label(self) -> str:
        """The name and the number, ``Ada (P3)``; what ``label`` is where one of the two is wanting."""
        return full_label(self.name, self.number) if self.id else self.label

    def is_meant_by(self, reference: Reference) -> bool:
        """Whether a reference means this person; a bare number means persons only."""
        match reference:
            case ByName(name):
                return bool(self.name) and self.name.casefold() == name.casefold()
            case ByPerson(number):
                return bool(self.id) and self.number == number
            case ByTrack(track):
                return track in self.tracks


def parse(text: str | int) -> Reference:
    """Reading of a text that is no person's name.

    >>> parse("p 3"), parse("3")
    (ByPerson(number=3, or_track=False), ByPerson(number=3, or_track=True))
    >>> parse("ID 5"), parse("track 5"), parse("Ann Lee")
    (ByTrack(track=5), ByTrack(track=5), ByName(name='Ann Lee'))
    """
    text = str(text).strip()
    if found := _PERSON.fullmatch(text):
        return ByPerson(int(found[2]), or_track=not found[1])
    if found := _TRACK.fullmatch(text):
        return ByTrack(int(found[1]))
    return ByName(text)


def matching(text: str | int, people: Sequence[RunPerson]) -> list[int]:
    """Indexes of those whom a text means: by name, or else as ``parse`` reads it.

    Args:
        text: a name, ``P3``, ``ID 5``, or a bare number: that person, or where there is none, that track if it is
            nobody's.
        people: of one run, or of several.
    """
    reference = parse(text)
    for wanted in (ByName(str(text).strip()), reference):
        if found := [index for index, person in enumerate(people) if person.is_meant_by(wanted)]:
            return found
    if isinstance(reference, ByPerson) and reference.or_track:
        return [i for i, person in enumerate(people) if not person.id and reference.number in person.tracks]
    return []


def hint(text: str | int, people: Sequence[RunPerson]) -> str:
    """End of the sentence that says that a text means nobody: who there is."""
    text, labels = str(text).strip(), list(dict.fromkeys(person.label for person in people))
    if not labels:
        return ": nobody was followed there"
    if text.isdecimal() and any(int(text) in person.tracks for person in people):
        return f": write 'ID {text}' for whoever track {text} is"
    close = difflib.get_close_matches(text.casefold(), [label.casefold() for label in labels], n=1)
    if close:
        return f": did you mean {next(label for label in labels if label.casefold() == close[0])!r}?"
    return f": there are {', '.join(labels[:_MAX_NAMED])}{' and others' if len(labels) > _MAX_NAMED else ''}"


def full_label(name: str, number: int) -> str:
    """A person as reports and drawn videos write it: the name with the number that commands and notes may use.

    >>> full_label("", 3), full_label("李雷", 3), full_label("P3", 3), full_label("李雷", 0)
    ('P3', '李雷 (P3)', 'P3', '李雷')
    """
    short = person_label("", number)
    return f"{name} ({short})" if name and number and name != short else name or short


def person_label(name: str, number: int) -> str:
    """Label of a person: the name given, else ``P`` and the number.

    >>> person_label("", 3), person_label("李雷", 3)
    ('P3', '李雷')
    """
    return name or f"P{number}"
