"""Data subject, over all runs: the person or track that is meant, and everything the database holds about them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from fertrack.errors import RunNotFoundError, StorageError
from fertrack.storage.answer_models import Marker, MarkerImport
from fertrack.storage.facts import find_run, run_status
from fertrack.storage.models import Correction, Face, FrameRow, Person, PersonAction, Rescore, Run, Source, TrackRow
from fertrack.storage.packing import fetch_tuples, unpack_rows
from fertrack.storage.people.persons import find_person
from fertrack.storage.people.reference import RunPerson
from fertrack.storage.people.subjects import load_subjects
from fertrack.storage.queries.faces import load_cuts
from fertrack.storage.recordings import STATED, FailedInput, RecordingRow
from fertrack.tracking.face_positions import NOBODY, Sightings, with_unclaimed
from fertrack.types import IntArray

__all__ = [
    "ERASED",
    "DataSubject",
    "action_concerns",
    "face_keys",
    "find_data_subject",
    "is_in_file_name",
    "load_sightings",
    "name_pattern",
    "refuse_while_running",
    "scrub_names",
    "unclaimed_keys",
]


@dataclass(frozen=True, slots=True)
class DataSubject:
    """Person whose data are asked for.

    Attributes:
        who: the person, with the tracks of the run in which they were named.
        names: every name the person has had and nobody else bears now, the present one first.
        former: keys of persons who were merged into this one, and are no persons any more.
        tracks: run and number of each track, in order.
    """

    who: RunPerson
    names: tuple[str, ...]
    former: tuple[int, ...]
    tracks: tuple[tuple[int, int], ...]

    @property
    def runs(self) -> tuple[int, ...]:
        """The runs in which they were followed, ascending."""
        return tuple(sorted({run for run, _ in self.tracks}))

    @property
    def identities(self) -> frozenset[int]:
        """Keys under which they are, or were, a person."""
        return frozenset(key for key in (self.who.id, *self.former) if key)

    def tracks_in(self, run: int) -> tuple[int, ...]:
        """Their tracks in one run."""
        return tuple(number for of, number in self.tracks if of == run)


def find_data_subject(connection: sa.Connection, database: str, person: str, run: int | str | None) -> DataSubject:
    """Data subject that a name or ID refers to, in all runs the person is in.

    Args:
        connection: an open connection.
        database: its name, for messages.
        person: a name, ``P3``, or ``ID 5`` for whoever that track is.
        run: number of the run in which they are called that, or "last"; None: any, if they are the only one.

    Raises:
        RunNotFoundError: no such run or person, or several go by that name.
    """
    if run is not None:
        number = find_run(connection, database, run)
        who, where = find_person(connection, number, person), number
    else:
        who, where = _the_only_one(connection, database, person)
    if not who.id:
        return DataSubject(who, (), (), ((where, who.tracks[0]),))
    tracks = connection.execute(
        sa.select(TrackRow.run_id, TrackRow.number)
        .where(TrackRow.person_id == who.id)
        .order_by(TrackRow.run_id, TrackRow.number)
    ).all()
    former, names = _history(connection, who)
    return DataSubject(who, names, former, tuple((row.run_id, row.number) for row in tracks))


def refuse_while_running(connection: sa.Connection, runs: Sequence[int]) -> None:
    """Pass if none of the runs is still being written.

    Raises:
        StorageError: one is.
    """
    rows = connection.execute(sa.select(Run.__table__).where(Run.id.in_(runs)).order_by(Run.id)).mappings()
    for row in rows:
        if run_status(row, dt.datetime.now(dt.UTC)) == "running":
            raise StorageError(f"run {row['id']} is still being written: wait until it has ended")


def unclaimed_keys(connection: sa.Connection, subject: DataSubject, run: int) -> list[tuple[int, int]]:
    """Frame and number of the faces that no track has claimed and that lie where the subject was about then."""
    seen = load_sightings(connection, run)
    own = _own_subjects(connection, subject, run)
    likely = with_unclaimed(seen, load_cuts(connection, run).time_s)
    theirs = (seen.subject == NOBODY) & np.isin(likely, list(own))
    return [(int(frame), int(face)) for frame, face in face_keys(connection, run)[theirs].tolist()]


def action_concerns(action: Any, subject: DataSubject) -> bool:
    """Whether an entry of the action log is about somebody."""
    return any(_row_concerns(row, subject) for row in (*action.before, *action.after))


def _own_subjects(connection: sa.Connection, subject: DataSubject, run: int) -> set[int]:
    """By which number sightings of the run know the subject: the person's first track in it."""
    tracks = subject.tracks_in(run)
    return {min(tracks)} if tracks else set()


def _row_concerns(row: Sequence[Any], subject: DataSubject) -> bool:
    table, key, values = row
    values = values or {}
    if table == "persons":
        return key[0] in subject.identities
    if values.get("person_id") in subject.identities:
        return True
    track = tuple(key) if table == "tracks" else (values.get("run_id"), values.get("track"))
    return track in subject.tracks


def _the_only_one(connection: sa.Connection, database: str, person: str) -> tuple[RunPerson, int]:
    found: dict[tuple[int, int], tuple[RunPerson, int]] = {}
    complaint: RunNotFoundError | None = None
    numbers = connection.scalars(sa.select(Run.id).order_by(Run.id)).all()
    for number in numbers:
        try:
            who = find_person(connection, number, person)
        except RunNotFoundError as error:
            complaint = error
            continue
        found.setdefault((who.id, 0) if who.id else (0, number), (who, number))
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        if complaint is not None and len(numbers) == 1:
            raise complaint
        find_run(connection, database, "last")
        raise RunNotFoundError(f"there is no person {person!r} in {database}: `fertrack person list RUN` names them")
    runs = ", ".join(str(number) for _, number in found.values())
    raise RunNotFoundError(f"{person!r} is somebody else in each of the runs {runs}: say which run, before the person")


def _history(connection: sa.Connection, who: RunPerson) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Persons who were merged into this one, and every name that is theirs alone."""
    living = {row.id: row.display_name for row in connection.execute(sa.select(Person.id, Person.display_name))}
    entries = connection.execute(sa.select(PersonAction.before, PersonAction.after).order_by(PersonAction.id)).all()
    same = {who.id}
    grown = True
    while grown:
        grown = False
        for entry in entries:
            before = {(table, tuple(key)): values for table, key, values in entry.before}
            for table, key, values in entry.after:
                was = (before.get((table, tuple(key))) or {}).get("person_id")
                now = (values or {}).get("person_id")
                if table == "tracks" and now in same and was and was not in same and was not in living:
                    same.add(was)
                    grown = True
    names = [who.name]
    for entry in entries:
        for table, key, values in (*entry.before, *entry.after):
            if table == "persons" and key[0] in same and values:
                names.append(values.get("display_name", ""))
    others = {name.casefold() for key, name in living.items() if key != who.id and name}
    own = [name for name in dict.fromkeys(names) if name and (name == who.name or name.casefold() not in others)]
    return tuple(sorted(same - {who.id})), tuple(own)


def load_sightings(connection: sa.Connection, run: int) -> Sightings:
    """Every detected face of a run; the subject is the first track of its person, or ``NOBODY``.

    In the order of frames and of faces within them, as ``face_keys`` gives them.
    """
    statement = (
        sa.select(Face.track, FrameRow.time_s, Face.xyxy)
        .join(FrameRow, sa.and_(FrameRow.run_id == Face.run_id, FrameRow.frame_index == Face.frame_index))
        .where(Face.run_id == run)
    )
    rows = fetch_tuples(connection, statement.order_by(Face.frame_index, Face.face_index))
    subject_of = load_subjects(connection, [run]).first_tracks()
    return Sightings(
        np.array([NOBODY if track is None else subject_of[track] for track, _, _ in rows], np.int64),
        np.array([time_s for _, time_s, _ in rows], np.float64),
        unpack_rows([xyxy for _, _, xyxy in rows], (4,)).astype(np.float64),
    )


def face_keys(connection: sa.Connection, run: int) -> IntArray:
    """Frame and number within it of every face of a run, int64 (N, 2), in the order of ``load_sightings``."""
    statement = sa.select(Face.frame_index, Face.face_index).where(Face.run_id == run)
    rows = fetch_tuples(connection, statement.order_by(Face.frame_index, Face.face_index))
    return np.array(rows, np.int64).reshape(-1, 2)


ERASED = "[erased]"
"""What stands where a name stood."""

_TEXT = re.compile(r'^(?P<key>\s*\w+ = )(?P<text>"(?:[^"\\]|\\.)*")\s*$')
_FOLDERS = re.compile(r"^.*[/\\](?=[^/\\])")  # all up to a path's last part
_FREE_TEXT_KEYS = ("purpose", "consent", *STATED)


def name_pattern(names: Sequence[str]) -> re.Pattern[str] | None:
    """Pattern of these names as whole words, in any case, also ``ann_lee`` or ``Ann-Lee``; None without names.

    >>> name_pattern(["Ann Lee"]).sub("...", "ann_lee.mp4, Ann Lee's, Annie Lee")
    "....mp4, ...'s, Annie Lee"
    """
    words = [r"[\s_.\-]+".join(map(re.escape, name.split())) for name in sorted(names, key=len, reverse=True)]
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(words)})(?![^\W_])", re.IGNORECASE) if words else None


def is_in_file_name(pattern: re.Pattern[str] | None, path: str) -> bool:
    """Whether a file is called like somebody, whatever its folders are called.

    >>> pattern = name_pattern(["Ada"])
    >>> is_in_file_name(pattern, "/videos/ada/talk.mp4"), is_in_file_name(pattern, "/videos/ada.mp4")
    (False, True)
    """
    return pattern is not None and pattern.search(_FOLDERS.sub("", path)) is not None


def scrub_names(connection: sa.Connection, names: Sequence[str], runs: Collection[int]) -> int:
    """Replace names by ``ERASED`` in free texts, in one writing transaction; returns how many texts had one.

    Notes and the like are looked through in all runs, names of files only in the given ones: a file of another run is
    not about the person, and would not be found again. Settings keep working: in them only free texts and parts of
    longer texts, such as files' names, are replaced.

    Args:
        connection: in a writing transaction.
        names: what the person is called.
        runs: those that the person is in.
    """
    pattern = name_pattern(names)
    if pattern is None:
        return 0

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return pattern.sub(ERASED, value)
        if isinstance(value, list):
            return [clean(item) for item in value]
        return value

    def clean_file(value: Any) -> Any:
        found = _FOLDERS.match(value)
        folders = found[0] if found else ""
        return folders + pattern.sub(ERASED, value[len(folders) :])

    def clean_theirs(value: Any) -> Any:
        return "\n".join(_clean_line(line, clean, clean_file, pattern) for line in value.split("\n"))

    def clean_others(value: Any) -> Any:
        return "\n".join(_clean_line(line, clean, None, pattern) for line in value.split("\n"))

    of_runs = sa.select(Run.source_id).where(Run.id.in_(list(runs)))

    changed = 0
    for model, columns in (
        (Run, ("notes", "error", "purpose", "consent")),
        (RecordingRow, STATED),
        (FailedInput, ("error", "path")),
        (Marker, ("label", "note")),
        (MarkerImport, ("file_name",)),
        (PersonAction, ("sentence",)),
    ):
        changed += _replace(connection, model, columns, clean)
    changed += _replace(connection, Source, ("name", "path"), clean_file, Source.id.in_(of_runs))
    for table, run in ((Run, Run.id), (Rescore, Rescore.run_id)):
        is_theirs = run.in_(list(runs))
        changed += _replace(connection, table, ("config_toml",), clean_theirs, is_theirs)
        changed += _replace(connection, table, ("config_toml",), clean_others, sa.not_(is_theirs))
    for author in connection.scalars(sa.select(Correction.author).distinct()).all():
        if pattern.search(author):
            theirs = Correction.author == author
            connection.execute(sa.update(Correction).where(theirs).values(author=clean(author)))
            changed += 1
    return changed


def _replace(
    connection: sa.Connection,
    model: Any,
    columns: Sequence[str],
    clean: Callable[[Any], Any],
    condition: sa.ColumnElement[bool] | None = None,
) -> int:
    (key,) = sa.inspect(model).primary_key
    statement = sa.select(key.label("row"), *(getattr(model, name) for name in columns))
    rows = connection.execute(statement if condition is None else statement.where(condition)).mappings().all()
    changed = 0
    for row in rows:
        new = {name: clean(row[name]) for name in columns}
        different = {name: value for name, value in new.items() if value != row[name]}
        if different:
            connection.execute(sa.update(model).where(key == row["row"]).values(**different))
            changed += len(different)
    return changed


def _clean_line(
    line: str, clean: Callable[[Any], Any], clean_file: Callable[[Any], Any] | None, pattern: re.Pattern[str]
) -> str:
    """A line of settings without the names; of those that are no free text only what ``clean_file`` takes away."""
    found = _TEXT.match(line)
    if found is None:
        return line
    text = found["text"][1:-1]
    if found["key"].split("=")[0].strip() in _FREE_TEXT_KEYS:
        return f'{found["key"]}"{clean(text)}"'
    if clean_file is None or pattern.fullmatch(text):  # a choice such as preset = "fast", of somebody called Fast
        return line
    return f'{found["key"]}"{clean_file(text)}"'
