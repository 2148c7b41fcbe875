"""Hides people in a video that fertrack has drawn, in place, where its source is not there to draw it again from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from fertrack.anonymise.anonymiser import FaceAnonymiser
from fertrack.anonymise.mosaic import black_out
from fertrack.errors import VideoReadError
from fertrack.imaging.overlay import label_places
from fertrack.sinks.video import AnnotatedVideoSink
from fertrack.sources import InputConfig, open_source
from fertrack.storage.queries.replay import stored_results
from fertrack.storage.stored_run import StoredRun
from fertrack.storage.written_files import DrawnVideo, LiveVideo
from fertrack.types import Detections, Faces, Float64Array, FrameResult, RunSummary

__all__ = ["overwrite_video"]

# How far around its place a label is blotted out, in label heights, and by how much more of its width. A run's own
# video is drawn from smoothed boxes, which are not stored; labels may have been longer before a rescoring or renaming;
# and a recording of a live view shows boxes that were predicted, and names as they were at the time.
_AROUND, _WIDER = 0.6, 0.5
_AROUND_LIVE, _WIDER_LIVE = 1.5, 1.5
_CAPTURED_S = 0.5  # an image that is repeated was captured at most so long after the last one that was analysed


def overwrite_video(
    run: StoredRun,
    path: Path,
    *,
    draft: Path,
    hider: FaceAnonymiser,
    people: Collection[int],
    made: DrawnVideo | LiveVideo,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Redact people in a drawn video: faces and boxes under a coarse mosaic, labels blacked out.

    Where debug panels show faces, the whole image is hidden while one of them is there.

    Args:
        run: the run, which still has their rows.
        path: the video.
        draft: the file to write.
        hider: hides their faces.
        people: first tracks of the persons to be hidden.
        made: with what the video was drawn.
        on_progress: called after every frame with the frames written and the frames expected.

    Returns:
        Frames written.

    Raises:
        VideoReadError: the video is of another size or length than the one that was drawn.
        FertrackError: it cannot be read, or the new one cannot be written.
    """
    facts = run.facts
    recording = made if isinstance(made, LiveVideo) else None
    drawn = made if isinstance(made, DrawnVideo) else DrawnVideo()
    config, expected, persons = drawn.config, drawn.frames, drawn.persons
    video = open_source(path, InputConfig())
    if abs(video.info.width - facts.info.width) > 1 or abs(video.info.height - facts.info.height) > 1:
        video.close()
        raise VideoReadError(f"{path} is not the video that was drawn: it has another size")
    size = facts.info.width, facts.info.height
    around = (_AROUND_LIVE, _WIDER_LIVE) if recording else (_AROUND, _WIDER)
    labels = _Labels(run, people, size=size, persons=persons, font=config.font, around=around)
    if persons and drawn.own_ids:
        labels.use_own_ids()
    if recording:
        labels.spread(recording.shown_alike, run.subjects.full_labels())
    offset_s = recording.offset_s if recording else None
    written = 0
    sink = AnnotatedVideoSink(draft, video.info, config.model_copy(update={"debug_overlay": False}), overwrite=True)
    with video, sink:
        for frame in video:
            if offset_s is None:
                offset_s = labels.first_s - frame.timestamp_s
            time_s = frame.timestamp_s + offset_s
            covered = labels.at(time_s)
            image = hider.hide(frame.image, time_s)
            if recording:  # where nothing was analysed, a recording may repeat the image from before
                for held_s in (labels.last_s, min(time_s, labels.last_s + _CAPTURED_S)):
                    image = hider.hide(image, held_s)
            if config.debug_overlay and len(hider.paths.at(time_s)[0]):
                covered = np.array([[0, 0, image.shape[1], image.shape[0]]], np.float64)
            if len(covered):
                image = image.copy()
                black_out(image, covered)
            sink.write(_blank(frame.index, frame.timestamp_s), image)
            written += 1
            if on_progress:
                on_progress(written, expected or facts.summary.frames)
        complete = "complete" if not expected or written == expected else "interrupted"
        sink.finish(RunSummary(complete, written, 0, 0, 0, 0, 0.0, 0.0))
    if expected and written != expected:
        draft.unlink(missing_ok=True)
        raise VideoReadError(f"{path} is not the video that was drawn: it has {written} frames instead of {expected}")
    return written


class _Labels:
    """Where people's labels were drawn, frame by frame, in order of time."""

    def __init__(
        self,
        run: StoredRun,
        people: Collection[int],
        *,
        size: tuple[int, int],
        persons: bool,
        font: str,
        around: tuple[float, float],
    ) -> None:
        first_track = run.subjects.first_tracks()
        self._run = run
        self._tracks = set(people) if persons else {track for track, first in first_track.items() if first in people}
        self._first_track = first_track if persons else {}
        self._names = run.subjects.full_labels() if persons else {}
        self._size, self._font, self._around = size, font, around
        self._results = stored_results(run)
        self._result = next(self._results, None)
        self._rects: Float64Array = np.empty((0, 4))
        self.first_s = self.last_s = self._result.timestamp_s if self._result else 0.0

    def use_own_ids(self) -> None:
        """Expect labels in the order of the tracks' own IDs, and short names, as videos are drawn now."""
        people, self._names = self._tracks, self._run.subjects.labels()
        self._tracks = {track for track, first in self._first_track.items() if first in people}
        self._first_track = {}

    def spread(self, shown_alike: Iterable[Collection[int]], names: Mapping[int, str]) -> None:
        """Redact also the labels of others who were shown as one of the people, and with their name.

        Args:
            shown_alike: tracks that were shown as one person.
            names: of persons, by track; the longest of them is as wide as any that was drawn.
        """
        people = set(self._tracks)
        for tracks in shown_alike:
            theirs = people.intersection(tracks)
            if theirs:
                self._tracks.update(tracks)
                longest = max((names.get(track, "") for track in theirs), key=len)
                self._names |= {track: longest for track in tracks if len(longest) > len(self._names.get(track, ""))}

    def at(self, time_s: float) -> Float64Array:
        """Labels of the last frame that was analysed by then, float64 (N, 4), px; that was at ``last_s``."""
        while self._result is not None and self._result.timestamp_s <= time_s + 1e-3:
            self.last_s = self._result.timestamp_s
            self._rects = np.array(list(self._covered(self._result)), np.float64).reshape(-1, 4)
            self._result = next(self._results, None)
        return self._rects

    def _covered(self, result: FrameResult) -> Iterator[tuple[float, float, float, float]]:
        ids = np.array([self._first_track.get(track, track) for track in result.track_ids.tolist()], np.int64)
        shown = replace(result, track_ids=ids)
        for track, (left, top, right, bottom) in label_places(
            self._size, shown, names=self._names, font=self._font
        ).items():
            if track in self._tracks:
                margin, extra = self._around[0] * (bottom - top), self._around[1] * (right - left)
                yield left - margin - extra / 2, top - margin, right + margin + extra, bottom + margin


def _blank(index: int, time_s: float) -> FrameResult:
    """A frame in which nothing is to be drawn."""
    nothing = np.empty((0, 7), np.float32)
    return FrameResult(
        frame_index=index,
        timestamp_s=time_s,
        faces=Faces(Detections.empty(), nothing),
        track_ids=np.empty(0, np.int64),
        track_xyxy=np.empty((0, 4), np.float32),
        probabilities=nothing,
        smoothed=nothing,
        labels=np.empty(0, np.int64),
    )
