"""Draws a stored run's video again, from the database and the source video, without any network.

Every track of a person is drawn in the person's colour, with the name or ``P3``; ``ID 5`` stays where a track is
nobody's. A run draws its own video while it analyses, each track as a person; where linking finds out that somebody
came back, that video is drawn again in this way. Boxes are the detections' own.

Faces can be made unrecognisable on the way: everybody's (``anonymise``), or those of some persons. In a run from which
somebody has been erased, whoever has no rows is hidden always: see ``fertrack.anonymise.anonymiser``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fertrack.anonymise.anonymiser import plan_anonymisation
from fertrack.config import Settings, load_settings
from fertrack.errors import StorageError, VideoOpenError
from fertrack.protocols import VideoSource
from fertrack.sinks.video import AnnotatedVideoSink, VideoOutputConfig
from fertrack.sources import Buffered, open_source
from fertrack.storage.engine import Database
from fertrack.storage.people.persons import tracks_of_person
from fertrack.storage.people.subjects import Subjects
from fertrack.storage.queries.replay import stored_results
from fertrack.storage.stored_run import StoredRun
from fertrack.storage.written_files import DrawnVideo, record_output
from fertrack.types import UNCONFIRMED, FrameResult, RunSummary

__all__ = ["RenderResult", "render_run"]

VOICES = "voices are kept as they are: --no-audio drops the sound"
"""Note on an anonymised video with sound."""


@dataclass(frozen=True, slots=True)
class RenderResult:
    """Result of a rendering.

    Attributes:
        path: the video.
        frames: frames drawn.
        elapsed_s: wall-clock time.
        notes: sentences the user should see.
    """

    path: Path
    frames: int
    elapsed_s: float
    notes: tuple[str, ...]


def render_run(
    database: Database,
    run: int | str,
    path: Path,
    video: VideoOutputConfig | None = None,
    *,
    source: str | Path | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    anonymise: bool | None = None,
    clear: Sequence[str] = (),
    without: Collection[int] = (),
    persons: bool = True,
    record: bool = True,
    detector: str = "",
) -> RenderResult:
    """Draw the annotated video of a stored run, with its persons' names.

    Anonymised, every face is replaced by a coarse mosaic, also faces that were never followed, and also for short times
    in which a face was not detected; boxes, ``P3`` or ``ID 5``, and labels stay, names do not. A face that was never
    detected at all cannot be hidden: look at the video before you hand it on.

    Args:
        database: the open database.
        run: number of the run, or "last".
        path: the video to write.
        video: codec, quality, sound, debug panels; as the run had them if None.
        source: where the source video is now; where it was if None.
        overwrite: replace a file that is already there.
        on_progress: called after every frame with the frames drawn and the frames to be drawn.
        anonymise: make faces unrecognisable; if ``video`` says so, or the run was made so, if None.
        clear: whose face and name stay all the same: names, ``P3``, or ``ID 5``.
        without: first tracks of persons who are neither drawn nor recognisable, anonymised or not.
        persons: draw persons; without it track IDs, as a run itself does.
        record: remember the file, so that `fertrack person erase` knows it.
        detector: dotted path of a detector of your own that may be run to find people who were erased from the run, if
            the run was made with it. What a database names is not imported without that.

    Raises:
        RunNotFoundError: no such run is stored, or nobody in it whom ``clear`` names.
        ValueError: ``clear`` without ``anonymise``.
        VideoOpenError: the source video is not there any more, or is another one.
        OutputExistsError: ``path`` is already there.
        FertrackError: the video cannot be read or written.
    """
    drawing = _Drawing(path, video, source, overwrite, on_progress, anonymise, clear, without, persons, detector)
    with database.run(run) as stored:
        rendered, made = _draw(stored, drawing)
    if record:
        record_output(database, stored.number, path, made)
    return rendered


@dataclass(frozen=True, slots=True)
class _Drawing:
    """Options of a rendering; see ``render_run``."""

    path: Path
    video: VideoOutputConfig | None
    source: str | Path | None
    overwrite: bool
    on_progress: Callable[[int, int], None] | None
    anonymise: bool | None
    clear: Sequence[str]
    without: Collection[int]
    persons: bool
    detector: str


def _draw(run: StoredRun, asked: _Drawing) -> tuple[RenderResult, DrawnVideo]:
    """As ``render_run``; also the record of the video."""
    started = time.perf_counter()
    number, facts = run.number, run.facts
    if facts.status == "running":
        raise StorageError(f"run {number} is still being written: render it when it has ended")
    settings = load_settings(base=facts.config_toml)
    config = asked.video or _as_the_run(settings)
    anonymise = config.anonymise if asked.anonymise is None else asked.anonymise
    if asked.clear and not anonymise:
        raise ValueError("persons to be left clear are named only where the others are anonymised")
    first_track = run.subjects.first_tracks()
    visible = {first_track[track] for who in asked.clear for track in tracks_of_person(run, who)}
    location = _location(number, facts.source_path, asked.source)
    frames = _opened(run, location, settings)
    hider = plan_anonymisation(
        run,
        everybody=anonymise,
        clear=visible - set(asked.without),
        subjects=asked.without,
        location=location,
        settings=settings,
        trusted=asked.detector,
    )
    labels = _labels(run.subjects, visible if anonymise else None) if asked.persons else {}
    numbers = run.subjects.person_numbers() if asked.persons else {}
    sink = AnnotatedVideoSink(asked.path, frames.info, config, overwrite=asked.overwrite, names=labels, numbers=numbers)
    drawn, total = 0, facts.summary.frames
    results = stored_results(run)
    result = next(results, None)
    with Buffered(frames, settings.input.prefetch) as source_frames, sink:
        for frame in source_frames:
            if result is None:
                break
            if frame.index != result.frame_index:  # the run lost this one, or another program reads the file
                continue
            shown = _shown(result, first_track, asked.without)
            image = hider.hide(frame.image, frame.timestamp_s) if hider else frame.image
            sink.write(shown, image)
            drawn += 1
            result = next(results, None)
            if asked.on_progress:
                asked.on_progress(drawn, total)
        sink.finish(_summary(drawn, facts.summary, is_whole=result is None and facts.status == "complete"))
    notes = list(sink.notes)
    if anonymise and frames.info.has_audio and config.audio:
        notes.append(VOICES)
    if run.erased_persons and not anonymise:
        notes.append(_who_is_blurred(run))
    if result is not None:
        notes.append(f"only {drawn} of {total} frames were drawn: {location} is not the video that was analysed")
    made = DrawnVideo(config, asked.persons, anonymise, clear=tuple(sorted(visible)), frames=drawn, own_ids=True)
    return RenderResult(asked.path, drawn, time.perf_counter() - started, tuple(notes)), made


def _location(run: int, stored: str, given: str | Path | None) -> Path:
    if given is None and (not stored or "://" in stored):
        raise VideoOpenError(f"run {run} was not of a video file, so it cannot be drawn again")
    location = Path(given) if given is not None else Path(stored)
    if not location.exists():
        raise VideoOpenError(f"the video of run {run} is not at {location}: say where it is with --source")
    return location


def _opened(run: StoredRun, location: Path, settings: Settings) -> VideoSource:
    """The source video, if it is of the size that was analysed."""
    frames, info = open_source(location, settings.input), run.facts.info
    if (frames.info.width, frames.info.height) != (info.width, info.height):
        frames.close()
        raise VideoOpenError(
            f"{location} is {frames.info.width}x{frames.info.height}, but run {run.number} was of a video of "
            f"{info.width}x{info.height}: name the right one with --source"
        )
    return frames


def _who_is_blurred(run: StoredRun) -> str:
    count = run.erased_persons
    return (
        f"{count} {'person was' if count == 1 else 'persons were'} erased from run {run.number}: faces that are not in "
        "the database are blurred"
    )


def _as_the_run(settings: Settings) -> VideoOutputConfig:
    return settings.video.model_copy(update={"enabled": True})


def _labels(subjects: Subjects, named: Collection[int] | None) -> dict[int, str]:
    """Labels of the persons, by track: names, or ``P3`` where they are not among those who may be named."""
    names = subjects.labels()
    if named is None:
        return names
    first_track, numbers = subjects.first_tracks(), subjects.numbers()
    return {track: name if first_track[track] in named else numbers[track] for track, name in names.items()}


def _shown(result: FrameResult, first_track: Mapping[int, int], hidden: Collection[int]) -> FrameResult:
    """The result with the tracks removed that are not drawn: those of some persons, and those that are not stored."""
    ids = [
        track if first_track.get(track, UNCONFIRMED) not in {UNCONFIRMED, *hidden} else UNCONFIRMED
        for track in result.track_ids.tolist()
    ]
    return replace(result, track_ids=np.array(ids, np.int64))


def _summary(drawn: int, whole: RunSummary, *, is_whole: bool) -> RunSummary:
    """Run summary for the sink: whether the images go on to the end, and the sound with them."""
    return replace(whole, status="complete" if is_whole else "interrupted", frames=drawn)
