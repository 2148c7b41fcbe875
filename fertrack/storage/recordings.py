"""Recordings: what a run's source is about and holds, the inputs that failed, and the unfinished ones.

``runs 1─1 recordings``, ``runs 1─n analysed``. By what a source holds and what analysed it, a batch knows what is done
already. By what was stated, answers are asked of some runs: ``condition=stress``.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from fertrack.errors import RunNotFoundError
from fertrack.storage.models import Base, PackedFloats, Run, UtcDateTime

__all__ = [
    "STATED",
    "AnalysedRow",
    "Earlier",
    "FailedInput",
    "Recording",
    "RecordingRow",
    "earlier_attempt",
    "forget_failure",
    "note_failure",
    "runs_stated",
    "state",
    "stated_of",
]

STATED = ("participant", "session", "condition")
"""Facts that may be stated about a recording, by which runs are chosen and grouped."""

_PAIR = re.compile(rf"(?:^|,)\s*({'|'.join(STATED)})\s*=", re.IGNORECASE)


class RecordingRow(Base):
    """Recording that a run was made from: what was stated about it, and digests of its content and its analysis.

    ``content`` is that of ``files.content_digest``, ``made_with`` the SHA-256 of the settings and networks that decide
    the rows, as they were when the run was made; both are empty where they are not known, as of a stream.
    """

    __tablename__ = "recordings"

    run_id: Mapped[int] = mapped_column(
        sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    participant: Mapped[str] = mapped_column(sa.Text)
    session: Mapped[str] = mapped_column(sa.Text)
    condition: Mapped[str] = mapped_column(sa.Text)
    content: Mapped[str] = mapped_column(sa.Text, index=True)
    made_with: Mapped[str] = mapped_column(sa.Text)


class FailedInput(Base):
    """Input that could not be processed, whether or not a run of it had begun; deleted once it can."""

    __tablename__ = "failed_inputs"
    __table_args__ = (sa.UniqueConstraint("path", "made_with"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(sa.Text)
    content: Mapped[str] = mapped_column(sa.Text)
    made_with: Mapped[str] = mapped_column(sa.Text)
    error: Mapped[str] = mapped_column(sa.Text)
    failed_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)


class AnalysedRow(Base):
    """Some frames as the stateless half of an unfinished run saw them, from which it can go on: ``storage.unfinished``.

    ``position`` counts the run's analysed frames from 0.
    """

    __tablename__ = "analysed"

    run_id: Mapped[int] = mapped_column(
        sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    frames: Mapped[int]
    packed: Mapped[bytes] = mapped_column(PackedFloats)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Facts about a recording, as they are stored with a run.

    Attributes:
        participant: who was recorded, as a code; empty if not stated.
        session: which of their sessions; empty if not stated.
        condition: under which condition; empty if not stated.
        content: digest of what the source holds; empty if it is not known.
        made_with: digest of what analyses it; empty if it is not known.
    """

    participant: str = ""
    session: str = ""
    condition: str = ""
    content: str = ""
    made_with: str = ""


@dataclass(frozen=True, slots=True)
class Earlier:
    """Earlier attempt at the same content with the same settings and networks.

    Attributes:
        state: "done", "unfinished" (a run that was interrupted, failed or killed) or "failed" (before a run began).
        run: number of the run; 0 where none had begun.
        error: why it failed, in one sentence; empty if nothing says.
    """

    state: str
    run: int = 0
    error: str = ""


def earlier_attempt(connection: sa.Connection, path: str, recording: Recording) -> Earlier | None:
    """The best of the earlier attempts at a source; None if there is none.

    Args:
        connection: an open connection.
        path: absolute path of the source.
        recording: its digests.
    """
    same = sa.and_(RecordingRow.content == recording.content, RecordingRow.made_with == recording.made_with)
    rows = connection.execute(
        sa.select(Run.id, Run.status, Run.error).join(RecordingRow).where(same).order_by(Run.id)
    ).all()
    if done := [row.id for row in rows if row.status == "complete"]:
        return Earlier("done", done[-1])
    failed = connection.execute(
        sa.select(FailedInput.error).where(
            FailedInput.path == path,
            FailedInput.made_with == recording.made_with,
            FailedInput.content == recording.content,
        )
    ).first()
    if rows:
        return Earlier("unfinished", rows[-1].id, (failed.error if failed else "") or rows[-1].error)
    return Earlier("failed", 0, failed.error) if failed else None


def note_failure(connection: sa.Connection, path: str, recording: Recording, error: str) -> None:
    """Keep why an input failed, in a writing transaction; a later failure replaces an earlier one."""
    forget_failure(connection, path, recording.made_with)
    values = {"path": path, "content": recording.content, "made_with": recording.made_with, "error": error}
    connection.execute(sa.insert(FailedInput).values(**values, failed_at=dt.datetime.now(dt.UTC)))


def forget_failure(connection: sa.Connection, path: str, made_with: str) -> None:
    """Forget that an input failed, in a writing transaction."""
    same = sa.and_(FailedInput.path == path, FailedInput.made_with == made_with)
    connection.execute(sa.delete(FailedInput).where(same))


def state(connection: sa.Connection, run: int, recording: Recording) -> bool:
    """Store what is now stated about a run's recording, in a writing transaction; what is not stated stays.

    Returns:
        Whether anything is different from before.
    """
    stated = {name: text for name in STATED if (text := getattr(recording, name))}
    before = stated_of(connection, [run]).get(run, Recording())
    changed = {name: text for name, text in stated.items() if getattr(before, name) != text}
    if changed:
        connection.execute(sa.update(RecordingRow).where(RecordingRow.run_id == run).values(**changed))
    return bool(changed)


def stated_of(connection: sa.Connection, runs: Sequence[int] | None = None) -> dict[int, Recording]:
    """Facts stated about the recordings of some runs, or of all; runs about which nothing is stored are left out."""
    statement = sa.select(RecordingRow.__table__)
    if runs is not None:
        statement = statement.where(RecordingRow.run_id.in_(list(runs)))
    rows = connection.execute(statement).mappings()
    return {row["run_id"]: Recording(**{name: row[name] for name in STATED}) for row in rows}


def runs_stated(connection: sa.Connection, database: str, text: str) -> list[int]:
    """Runs whose recordings were stated to be so, oldest first.

    Args:
        connection: an open connection.
        database: its name, for messages.
        text: ``condition=stress``, or several with commas between: ``participant=P07, session=2``. Case does not
            matter; nothing behind ``=`` means that nothing was stated.

    Raises:
        RunNotFoundError: the text says something else, or there are no such runs.
    """
    parts = _PAIR.split(text)[1:]
    if not parts or not _PAIR.match(text):
        raise RunNotFoundError(
            f"no runs can be chosen by {text!r}: write {' or '.join(f'{name}=...' for name in STATED)}"
        )
    asked = {name.lower(): value.strip() for name, value in zip(parts[::2], parts[1::2], strict=True)}
    known = {run: Recording() for run in connection.scalars(sa.select(Run.id).order_by(Run.id))}
    known |= stated_of(connection)
    found = [
        run
        for run, stated in known.items()
        if all(getattr(stated, name).casefold() == value.casefold() for name, value in asked.items())
    ]
    if not found:
        said = {name: sorted({getattr(stated, name) for stated in known.values()} - {""}) for name in asked}
        there = "; ".join(f"{name}: {', '.join(values) or 'never stated'}" for name, values in said.items())
        raise RunNotFoundError(f"no run in {database} has {text} ({there})")
    return found
