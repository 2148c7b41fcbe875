"""Plan of an erasure: person, rows and files, as the database is at one moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fertrack.sinks.draft import VideoDraft, remains_of
from fertrack.storage.engine import Database
from fertrack.storage.facts import RunFacts
from fertrack.storage.people.subjects import Subjects
from fertrack.storage.rights.data_subject import DataSubject, find_data_subject, refuse_while_running
from fertrack.storage.rights.erasure import count_rows
from fertrack.storage.runs import runs_by_source, runs_of_same_video
from fertrack.storage.stored_run import StoredRun
from fertrack.storage.written_files import DrawnVideo, LiveVideo, OutputFile, outputs

__all__ = ["ErasurePlan", "TheirRun", "TheirVideo"]


@dataclass(frozen=True, slots=True)
class TheirRun:
    """A run in which the person was followed.

    Attributes:
        facts: what is known of it.
        subjects: its people.
        same_video: other runs that may be of the same video.
    """

    facts: RunFacts
    subjects: Subjects
    same_video: list[int]

    @property
    def source(self) -> Path | None:
        """The file or folder that it was made from, if it is there."""
        path = self.facts.source_path
        return Path(path) if path and "://" not in path and Path(path).exists() else None

    @property
    def is_live(self) -> bool:
        """Whether it was of a camera or a stream, which have no path beside their name."""
        return self.facts.source_path == self.facts.source_name


@dataclass(frozen=True, slots=True)
class TheirVideo:
    """A video that was written from one of their runs.

    Attributes:
        run: number of the run.
        file: its record.
        made: what it was made with.
    """

    run: int
    file: OutputFile
    made: DrawnVideo | LiveVideo

    @property
    def drafts(self) -> list[Path]:
        """The video, and what a run that was cut off has left beside it; those that are there."""
        path = self.file.path
        return [each for each in (path, VideoDraft(path).path, *remains_of(path)) if each.is_file()]


@dataclass(frozen=True, slots=True)
class ErasurePlan:
    """Everything that an erasure has to know.

    Attributes:
        subject: who it is.
        rows: rows to be deleted, by kind.
        runs: theirs, by number.
        files: every file that is known to have been written.
        made_from: the first run made from each file that one was made from.
    """

    subject: DataSubject
    rows: dict[str, int]
    runs: dict[int, TheirRun]
    files: list[OutputFile]
    made_from: dict[Path, int]

    @classmethod
    def read(cls, database: Database, person: str, run: int | str | None) -> ErasurePlan:
        """Read who is meant, and the rows and files about them.

        Raises:
            RunNotFoundError: no such run or person, or several go by that name.
            StorageError: a run of theirs is still being written.
        """
        with database.reading() as connection:
            subject = find_data_subject(connection, database.name, person, run)
            refuse_while_running(connection, subject.runs)
            theirs = [StoredRun(connection, database.name, number) for number in subject.runs]
            return cls(
                subject=subject,
                rows=count_rows(connection, subject),
                runs={
                    each.number: TheirRun(
                        each.facts, each.subjects, runs_of_same_video(connection, each.number, subject.runs)
                    )
                    for each in theirs
                },
                files=outputs(connection),
                made_from=runs_by_source(connection),
            )

    def theirs(self) -> Iterator[OutputFile]:
        """The files written from their runs."""
        return (file for file in self.files if file.run in self.runs)

    def videos(self) -> Iterator[TheirVideo]:
        """The videos among them."""
        for file in self.theirs():
            if file.run is not None and isinstance(file.made, DrawnVideo | LiveVideo):
                yield TheirVideo(file.run, file, file.made)

    def why_untouched(self, file: OutputFile, path: Path) -> str:
        """Why a video at a known path must not be written to; empty if fertrack has written it, and may do so again."""
        used_by = self.made_from.get(path.resolve())
        if used_by is not None:
            return f"run {used_by} was made from it; delete it, or hide the person by other means, if it shows them"
        if path != file.path:  # what a run that was cut off has left: nobody else calls a file so
            return ""
        is_complete = file.digests or (isinstance(file.made, DrawnVideo) and file.made.frames)
        if file.is_as_written and is_complete:
            return ""
        return "it is not as fertrack has written it; delete it, or hide the person by other means, if it shows them"
