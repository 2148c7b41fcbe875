"""Re-identification sink: finds out which tracks are one person, from each track's best faces."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np

from fertrack.imaging.alignment import align_faces
from fertrack.protocols import Embedder
from fertrack.reid.config import LinkingConfig
from fertrack.reid.gallery import FaceGallery, KeptFace
from fertrack.reid.linker import KnownPerson, LinkPlan, may_link, plan_links
from fertrack.reid.live import LivePersons
from fertrack.reid.motion import impossible_pairs
from fertrack.reid.quality import pose_quality, sharpness
from fertrack.reid.tracklets import Tracklet, TrackletLog
from fertrack.types import UNCONFIRMED, FloatArray, FrameResult, Image, RunSummary

__all__ = ["ReidSink"]

_MAX_CROPS = 512
"""Aligned faces kept at once: 35 MB at 150 px. Beyond, the tracks unseen for longest are embedded early."""

_MAX_LIVE_CROPS = 256
"""Live, where embedding a track early would hold up the frames. Beyond, the tracks unseen for longest are reduced to
the faces they were compared by."""

_LIVE_FACES = 2
_LIVE_SPAN_S = 0.5
_LIVE_END_S = 5.0
"""Whoever stopped a live run waits for its end: no further track's faces are begun after so long."""


class ReidSink:
    """Keeps each track's best faces in memory while the run lasts, compares them at its end, and forgets them.

    Offline nothing is compared before the end, and then only tracks that can be somebody else's continuation: two
    people who are in the frame together all the time cost nothing. Live, a track is compared once, as soon as it has
    shown two good faces half a second apart, one track at a time, and ``persons`` says who it is. An embedder in a
    process of its own is asked from a thread of its own, and its answer is taken with a later frame. The end of a live
    run compares all of a track's best faces for about five seconds; the tracks left then are linked by the two faces
    already compared, or count as persons of their own where there are none, and a note says so.

    Args:
        embedder: what faces are compared by.
        config: thresholds, faces per track.
        known: persons of earlier runs that a track may belong to.
        embed_all: embed every track, because the embeddings themselves are wanted.
        live: decide while the run goes on.

    Attributes:
        name: "link".
        needs_image: True.
        known: persons of earlier runs that a track may belong to.
        notes: what the user should know; complete after ``finish``.
        plan: who is who; None until ``finish``.
        tracklets: all tracks with their embeddings; empty until ``finish``.
        persons: live only: position of the person of each track decided so far, known persons first.
    """

    name = "link"
    needs_image = True

    def __init__(
        self,
        embedder: Embedder,
        config: LinkingConfig | None = None,
        *,
        known: Sequence[KnownPerson] = (),
        embed_all: bool = False,
        live: bool = False,
    ) -> None:
        self.embedder = embedder
        self.known = known
        self.notes: list[str] = []
        self.plan: LinkPlan | None = None
        self.tracklets: list[Tracklet] = []
        self._config = config or LinkingConfig()
        self._embed_all = embed_all or bool(known)
        self._log = TrackletLog()
        self._gallery = FaceGallery(self._config.faces_per_track)
        self._embedded: dict[int, tuple[FloatArray, FloatArray]] = {}
        self._compared: dict[int, tuple[FloatArray, FloatArray]] = {}
        self._last_seen_s: dict[int, float] = {}
        self._live = LivePersons(self._config, known, recognises=embedder.recognises) if live else None
        self._work_ms = array("f")
        self._asker: ThreadPoolExecutor | None = None
        if live and getattr(embedder, "in_subprocess", False):
            self._asker = ThreadPoolExecutor(1, thread_name_prefix="fertrack-link")
        self._asked: tuple[int, FloatArray, Future[FloatArray]] | None = None
        self._reduced: dict[int, tuple[FloatArray, Future[FloatArray]] | None] = {}

    @property
    def persons(self) -> dict[int, int]:
        """Live only: position of the person of each track decided so far."""
        return self._live.persons if self._live else {}

    @property
    def work_ms(self) -> Sequence[float]:
        """Milliseconds per frame, and as the last one those that the end took."""
        return self._work_ms

    def __enter__(self) -> Self:
        """Return self; everything is in memory."""
        return self

    def write(self, result: FrameResult, image: Image | None) -> None:
        """Take one frame.

        Raises:
            ValueError: no image.
        """
        started = time.perf_counter()
        if image is None:
            raise ValueError("image must be given: faces are compared by their pixels")
        self._log.add(result)
        self._keep_faces(result, image)
        if self._live is not None:
            self._live.seen(track for track in result.track_ids.tolist() if track != UNCONFIRMED)
            self._decide_one(self._live, result.timestamp_s)
        self._make_room()
        self._work_ms.append((time.perf_counter() - started) * 1e3)

    def finish(self, summary: RunSummary) -> None:
        """Embed the tracks that may be joined, and join them; nothing if the run failed.

        Raises:
            ModelError: the embedder failed.
        """
        if summary.status == "failed":
            return
        started = time.perf_counter()
        tracklets = self._log.tracklets({})
        recognises = self.embedder.recognises
        wanted = self._log.tracks if self._embed_all else may_link(tracklets, self._config, recognises=recognises)
        if self._live is None:
            for track in wanted:
                self._embed(track)
        else:
            self._embed_in_time(wanted)
        self.tracklets = self._log.tracklets(self._embedded)
        self.plan = plan_links(self.tracklets, self._config, recognises=recognises, known=self.known)
        self._tell(set(wanted))
        self._work_ms.append((time.perf_counter() - started) * 1e3)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Forget the faces."""
        if self._asker is not None:
            self._asker.shutdown(wait=True, cancel_futures=True)
        self._gallery = FaceGallery(self._config.faces_per_track)

    def _keep_faces(self, result: FrameResult, image: Image) -> None:
        detections = result.faces.detections
        at_best = pose_quality(detections.landmarks, detections.score)
        time_s = result.timestamp_s
        for row, track in enumerate(result.track_ids.tolist()):
            if track == UNCONFIRMED:
                continue
            self._last_seen_s[track] = time_s
            best = float(at_best[row])
            if best < self._config.min_quality or not self._gallery.wants(track, time_s, best):
                continue
            (crop,) = align_faces(
                image, detections.landmarks[row : row + 1], self.embedder.template, self.embedder.crop_size
            )
            # The stand-in compares colours: a blurred face serves it as well as a sharp one.
            quality = best * sharpness(crop) if self.embedder.recognises else best
            self._gallery.offer(track, KeptFace(time_s, quality, crop))

    def _make_room(self) -> None:
        most, give_up = (_MAX_CROPS, self._embed) if self._asker is None else (_MAX_LIVE_CROPS, self._reduce)
        while len(self._gallery) > most:
            tracks = self._gallery.tracks
            if len(tracks) == 1:
                break
            give_up(min(tracks, key=lambda track: self._last_seen_s[track]))

    def _good(self, faces: Sequence[KeptFace]) -> list[KeptFace]:
        return [face for face in faces if face.quality >= self._config.min_quality]

    def _reduce(self, track: int) -> None:
        """Forget a track's faces; if it was not compared yet, have a few of them embedded without waiting for it."""
        faces = self._good(self._gallery.take(track))[:_LIVE_FACES]
        if self._asker is None or not faces or track in self._compared or track in self._reduced:
            self._reduced.setdefault(track, None)
            return
        self._reduced[track] = _qualities(faces), self._asker.submit(self.embedder.embed, _crops(faces))

    def _embed(self, track: int) -> None:
        faces = self._good(self._gallery.take(track))
        if not faces:
            return
        vectors, quality = self.embedder.embed(_crops(faces)), _qualities(faces)
        if track in self._embedded:
            earlier = self._embedded[track]
            vectors, quality = np.concatenate([earlier[0], vectors]), np.concatenate([earlier[1], quality])
        best = np.sort(np.argsort(-quality, kind="stable")[: self._config.faces_per_track])
        self._embedded[track] = vectors[best], quality[best]

    def _embed_in_time(self, tracks: Sequence[int]) -> None:
        """Embed tracks, those first of which nothing is known, until the time is up."""
        until_s = time.monotonic() + _LIVE_END_S
        for track, asked in self._reduced.items():
            if asked is not None:
                self._compared.setdefault(track, (asked[1].result(), asked[0]))
        left = 0
        for track in sorted(tracks, key=lambda each: each in self._compared):  # stable
            in_time = time.monotonic() < until_s
            if in_time:
                self._embed(track)
            if track not in self._embedded and (track in self._reduced or not in_time):
                left += 1
                if track in self._compared:
                    self._embedded[track] = self._compared[track]
        if left:
            self.notes.append(
                f"{left} of {len(tracks)} tracks were linked by less than all their faces, to bound memory and the "
                "time that stopping takes: see fertrack person list, and merge who is the same"
            )

    def _learn(self, live: LivePersons, track: int, quality: FloatArray, vectors: FloatArray) -> None:
        self._compared[track] = vectors, quality
        live.add(track, vectors, None if self.embedder.recognises else self._may_continue(track))

    def _may_continue(self, track: int) -> list[int]:
        """The tracks that are near enough in time and place to be the same person, where faces are not recognised."""
        near = self._log.around(track, self._config.appearance_gap_s)
        cannot = impossible_pairs(near, self._config, recognises=False)[0]
        return [other.track for other, no in zip(near[1:], cannot[1:].tolist(), strict=True) if not no]

    def _decide_one(self, live: LivePersons, time_s: float) -> None:
        """Decide who one track is, if one has shown enough and is still undecided."""
        if self._asked is not None:
            track, quality, answer = self._asked
            if not answer.done():
                return
            self._asked = None
            self._learn(live, track, quality, answer.result())
        for track in self._gallery.tracks:
            if track in live.persons:
                continue
            good = self._good(self._gallery.best(track))
            if len(good) < _LIVE_FACES or time_s - good[0].time_s < _LIVE_SPAN_S:
                continue
            crops, quality = _crops(good[:_LIVE_FACES]), _qualities(good[:_LIVE_FACES])
            if self._asker is not None:
                self._asked = track, quality, self._asker.submit(self.embedder.embed, crops)
            else:
                self._learn(live, track, quality, self.embedder.embed(crops))
            return

    def _tell(self, wanted: set[int]) -> None:
        plan = self.plan
        if plan is None or len(self.tracklets) == 0:
            return
        if not self.embedder.recognises:
            if len(self.tracklets) > 1:
                self.notes.append(
                    f"persons were linked by their looks alone, over gaps up to {self._config.appearance_gap_s:g} s: "
                    "the extra [reid] recognises faces after any gap ('fertrack guide people')"
                )
            return
        blank = [each.track for each in self.tracklets if each.track in wanted and not len(each.embeddings)]
        if blank:
            count = f"{len(blank)} of {len(self.tracklets)} tracks"
            self.notes.append(
                f"{count} show no face large, frontal and sharp enough to be recognised: each counts as a person"
            )


def _crops(faces: Sequence[KeptFace]) -> Image:
    """uint8 (E, S, S, 3), BGR."""
    return np.stack([face.crop for face in faces])


def _qualities(faces: Sequence[KeptFace]) -> FloatArray:
    """float32 (E,)."""
    return np.array([face.quality for face in faces], np.float32)
