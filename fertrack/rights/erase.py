"""Erases one person: from the drawn videos, the database, the reports and the exports.

The order is what makes it safe to be interrupted at any point and simply be run again:

1. videos, while the rows still say where the person is: drawn again from the source with the person hidden, or, where
   that is not there, overwritten in place; each new file takes the old one's place only when it is complete;
2. the rows, in one transaction, which also marks the files that are still to be written again;
3. those files, from what the database holds now;
4. the database file, so that no byte of the rows is left in it.

Before 2 a new call begins again; after it, the next call goes on. If a video cannot be seen to, because the disk is
full for example, nothing is deleted, as its faces could not be found any more.

What fertrack did not write stays as it is, and is named: the source video, files that were moved or changed by hand,
copies made by ``fertrack db backup``. Erase the person in each copy too (``--db copy.db``), or delete it; a copy that
is put back brings the person back. The sound of videos stays: a voice can identify somebody too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from fertrack.anonymise.anonymiser import FaceAnonymiser, plan_anonymisation
from fertrack.anonymise.redact_video import overwrite_video
from fertrack.errors import (
    ConfigError,
    ModelError,
    StorageError,
    VideoOpenError,
    VideoReadError,
    VideoWriteError,
    WeightsError,
    reason_of,
)
from fertrack.render import render_run
from fertrack.rights.erasure_plan import ErasurePlan, TheirVideo
from fertrack.rights.refresh_outputs import name_of_file, rewrite_stale
from fertrack.storage.engine import Database
from fertrack.storage.maintenance import vacuum
from fertrack.storage.rights.data_subject import DataSubject, is_in_file_name, name_pattern
from fertrack.storage.rights.erasure import erase_rows, finish_erasures, pending_erasures
from fertrack.storage.written_files import (
    DatabaseCopy,
    DrawnVideo,
    LiveVideo,
    OutputFile,
    PersonFolder,
    file_digest,
    mark_stale,
    will_be,
)
from fertrack.tracking.face_positions import FacePaths, Sightings

__all__ = ["EraseReport", "erase_person", "finish_erasing"]

_CANNOT_DRAW = (VideoOpenError, VideoReadError, WeightsError, ModelError, ConfigError)
"""Why a video may not be drawn again from its source, so that it is overwritten in place."""

_NOTHING = FaceAnonymiser(FacePaths(Sightings.empty()))


@dataclass(slots=True)
class EraseReport:
    """Result of an erasure, or of its dry run.

    Attributes:
        rows: rows deleted, by kind.
        redrawn: videos drawn again from their source, with the person hidden.
        overwritten: videos in which the person was hidden in place.
        rewritten: reports and exports written again.
        deleted: exports that were about nobody else.
        left: sentences about files that were not seen to, and what to do about them.
        done: False for a dry run.
    """

    rows: dict[str, int] = field(default_factory=dict)
    redrawn: list[Path] = field(default_factory=list)
    overwritten: list[Path] = field(default_factory=list)
    rewritten: list[Path] = field(default_factory=list)
    deleted: list[Path] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    done: bool = True


def erase_person(
    database: Database,
    person: str,
    run: int | str | None = None,
    *,
    dry_run: bool = False,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> EraseReport:
    """Delete everything about a person, in all runs they are in; see the module for the order.

    Args:
        database: the open database.
        person: a name, ``P3``, or ``ID 5`` for whoever that track is.
        run: number of the run in which they are called that, or "last"; None: any, if they are the only one.
        dry_run: only say what would go.
        on_progress: called with a file name, the frames done and the frames to do.

    Raises:
        RunNotFoundError: no such run or person, or several go by that name.
        StorageError: a run is still being written, or a video cannot be seen to: nothing was deleted. Or the database
            file could not be compacted: call ``finish_erasing``.
    """
    report = EraseReport(done=not dry_run)
    if not dry_run and pending_erasures(database):
        _finish(database, report)
    plan = ErasurePlan.read(database, person, run)
    report.rows = plan.rows
    _foresee(plan, report) if dry_run else _erase(database, plan, report, on_progress)
    return report


def finish_erasing(database: Database) -> EraseReport | None:
    """Go on with an erasure that was interrupted after the rows were deleted; None if there is none.

    Raises:
        StorageError: the database file could not be compacted.
        ReportError: a report could not be written.
    """
    if not pending_erasures(database):
        return None
    report = EraseReport()
    _finish(database, report)
    return report


def _erase(
    database: Database,
    plan: ErasurePlan,
    report: EraseReport,
    on_progress: Callable[[str, int, int], None] | None,
) -> None:
    videos = _Videos(database, plan, report, on_progress)
    for video in plan.videos():
        for path in video.drafts:
            videos.hide_in(video, path)
    _name_untouched(plan, report)
    report.rows = erase_rows(database, plan.subject)
    _finish(database, report)


def _finish(database: Database, report: EraseReport) -> None:
    rewritten, deleted, left = rewrite_stale(database)
    report.rewritten += rewritten
    report.deleted += deleted
    gone = {name_of_file(path) for path in deleted}
    report.left[:] = dict.fromkeys(sentence for sentence in [*report.left, *left] if sentence not in gone)
    vacuum(database, forget=True)
    files = {
        "files redrawn": len(report.redrawn),
        "files overwritten": len(report.overwritten),
        "files rewritten": len(report.rewritten),
        "files deleted": len(report.deleted),
        "files left": len(report.left),
    }
    finish_erasures(database, {name: count for name, count in files.items() if count})
    if database.engine.dialect.name != "sqlite":
        report.left.append(
            "the server's tables were rewritten; its statistics, write-ahead log, replicas and dumps keep older values "
            "until the server replaces them: ask who runs it"
        )


class _Videos:
    """Hides one person in the drawn videos of their runs."""

    def __init__(
        self,
        database: Database,
        plan: ErasurePlan,
        report: EraseReport,
        on_progress: Callable[[str, int, int], None] | None,
    ) -> None:
        self._database = database
        self._plan = plan
        self._report = report
        self._on_progress = on_progress or (lambda name, done, total: None)

    def hide_in(self, video: TheirVideo, path: Path) -> None:
        """Redact one video, or raise; where it cannot be read, or is another one, the error tells so."""
        file = video.file
        first_track = self._plan.runs[video.run].subjects.first_tracks()
        people = {first_track[track] for track in self._plan.subject.tracks_in(video.run)}
        draft = path.with_name(f"{path.stem}.erasing{path.suffix}")
        is_whole = path == file.path
        if why_not := self._plan.why_untouched(file, path):
            self._report.left.append(f"{path} was not changed: {why_not}")
            self._is_unsafe(file, path)
            return
        try:
            if is_whole and self._draw_again(video, draft, people):
                done = self._report.redrawn
            else:
                self._overwrite(video, path, draft, people)
                done = self._report.overwritten
            if is_whole:  # if it is interrupted in between, either file is known to be ours
                own = file_digest(draft)
                will_be(self._database, file, [own, *file.digests])
                draft.replace(path)
                will_be(self._database, file, [own])
                if done is self._report.redrawn:  # without everybody who was ever erased from the run
                    mark_stale(self._database, file, stale=False)
            else:
                draft.replace(path)
            done.append(path)
        except (VideoOpenError, VideoReadError) as error:
            self._report.left.append(f"{path} was not changed ({error}): delete it, or hide the person by other means")
            self._is_unsafe(file, path)
        except (VideoWriteError, OSError) as error:
            raise StorageError(
                f"nothing was deleted, because the person cannot be hidden in {path} ({reason_of(error)}): make room, "
                "or delete that video, then do this again"
            ) from error
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
                draft.with_name(f"{draft.stem}.part{draft.suffix}").unlink(missing_ok=True)

    def _is_unsafe(self, file: OutputFile, path: Path) -> None:
        """Remember that a video still shows the person, so that no report plays it."""
        if path == file.path:
            mark_stale(self._database, file, stale=True)

    def _overwrite(self, video: TheirVideo, path: Path, draft: Path, people: set[int]) -> None:
        made = video.made
        if path != video.file.path and isinstance(made, DrawnVideo):
            made = replace(made, frames=0)  # the rest of a video that was cut off
        with self._database.run(video.run) as run:
            overwrite_video(
                run,
                path,
                draft=draft,
                hider=plan_anonymisation(run, everybody=False, subjects=people) or _NOTHING,
                people=people,
                made=made,
                on_progress=lambda done, total: self._on_progress(path.name, done, total),
            )

    def _draw_again(self, video: TheirVideo, draft: Path, people: set[int]) -> bool:
        """Draw a video from its source, without the persons; False if that cannot be, or is not the same video."""
        run, made = self._plan.runs[video.run], video.made
        if isinstance(made, LiveVideo) or not run.source:
            return False
        clear = set(made.clear) & run.subjects.first_tracks().keys() - people
        try:
            drawn = render_run(
                self._database,
                video.run,
                draft,
                made.config,
                overwrite=True,
                anonymise=made.anonymised,
                clear=[f"ID {track}" for track in sorted(clear)],
                without=people,
                persons=made.persons,
                record=False,
                on_progress=lambda done, total: self._on_progress(video.file.path.name, done, total),
            )
        except _CANNOT_DRAW:
            return False
        return not made.frames or drawn.frames == made.frames


def _name_untouched(plan: ErasurePlan, report: EraseReport) -> None:
    """Report the known files that will not be changed."""
    subject = plan.subject
    pattern = name_pattern(subject.names)
    for file in plan.files:
        if isinstance(file.made, DatabaseCopy) and file.is_there:
            report.left.append(
                f"the copy {file.path} of {file.written_at:%Y-%m-%d} still holds the person: delete it, or erase them "
                f"in it too, with --db {file.path}"
            )
        elif file.run not in plan.runs:
            continue
        elif isinstance(file.made, PersonFolder) and file.is_there and _is_about(file.run, file.made, subject):
            report.left.append(
                f"{file.path} was made for the person and holds their data: hand it over, then delete it"
            )
    for video in plan.videos():
        if not video.drafts:
            report.left.append(f"{video.file.path} is not there any more: if it was moved or copied, delete it there")
    for file in plan.theirs():
        if file.is_there and is_in_file_name(pattern, str(file.path)):
            report.left.append(name_of_file(file.path))
    for number, run in plan.runs.items():
        path = run.facts.source_path
        if run.source:
            report.left.append(f"the source {path} was not changed: it is yours, and shows the person as before")
        elif path and "://" not in path and not run.is_live:
            report.left.append(f"the source {path} is not there any more: wherever it is now, it shows the person")
        report.left += [
            f"run {other} was made from the same video and may show the person under another ID: erase them there too"
            for other in run.same_video
        ]
        if is_in_file_name(pattern, path):
            report.left.append(f"the path {path} names the person: rename it; run {number} does not know it any more")
        elif pattern and pattern.search(path):
            report.left.append(f"a folder of {path} names the person, and run {number} still knows it")
    report.left[:] = dict.fromkeys(report.left)


def _is_about(run: int | None, folder: PersonFolder, subject: DataSubject) -> bool:
    return any((run, track) in subject.tracks for track in folder.tracks)


def _foresee(plan: ErasurePlan, report: EraseReport) -> None:
    """Adds to a report what would happen to each file."""
    for video in plan.videos():
        again = plan.runs[video.run].source is not None and isinstance(video.made, DrawnVideo)
        for path in video.drafts:
            if why_not := plan.why_untouched(video.file, path):
                report.left.append(f"{path} would not be changed: {why_not}")
                continue
            (report.redrawn if again and path == video.file.path else report.overwritten).append(path)
    for file in plan.theirs():
        if file.is_rewritten and file.is_there:
            if file.track is None:
                report.rewritten.append(file.path)
            elif (file.run, file.track) in plan.subject.tracks:
                report.deleted.append(file.path)
    _name_untouched(plan, report)
