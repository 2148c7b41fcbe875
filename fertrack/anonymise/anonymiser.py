"""Faces of a stored run that a video must not show, and their boxes in every frame.

Nothing is detected again: the database says where the faces are. Only where somebody has been erased from the run does
it not say so any more, while the source video still shows them; there, every image is searched again, and faces that
have no row are hidden.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from fertrack.anonymise.mosaic import pixelate
from fertrack.config import Settings
from fertrack.detectors import available_detectors, build_detector
from fertrack.errors import ConfigError
from fertrack.imaging.geometry import iou_matrix
from fertrack.sources import open_source
from fertrack.storage.rights.data_subject import load_sightings
from fertrack.storage.stored_run import StoredRun
from fertrack.tracking.face_positions import NOBODY, FacePaths, Sightings, with_unclaimed
from fertrack.types import Float64Array, Image

__all__ = ["FaceAnonymiser", "plan_anonymisation"]

_SAME_FACE_IOU = 0.3
_MISSED_IOU = 0.6
_SAME_FRAME_S = 1e-6


class FaceAnonymiser:
    """Anonymiser of the frames of one video.

    Args:
        paths: where faces are.
        clear: subjects that stay visible.
    """

    def __init__(self, paths: FacePaths, clear: Collection[int] = ()) -> None:
        self.paths = paths
        self._clear = frozenset(clear)

    def hide(self, image: Image, time_s: float) -> Image:
        """Copy of an image with the faces pixelated that are, or may be, there at that time.

        Args:
            image: uint8 (H, W, 3), BGR.
            time_s: presentation time in the source, seconds.
        """
        boxes = self.paths.hidden(time_s, self._clear)
        if not len(boxes):
            return image
        hidden = image.copy()
        pixelate(hidden, boxes)
        return hidden


def plan_anonymisation(
    run: StoredRun,
    *,
    everybody: bool,
    clear: Collection[int] = (),
    subjects: Collection[int] = (),
    location: Path | None = None,
    settings: Settings | None = None,
    trusted: str = "",
) -> FaceAnonymiser | None:
    """Plan the anonymisation of a run's video; None if nobody is to be hidden.

    Args:
        run: the run.
        everybody: hide all faces, those that no track has claimed too.
        clear: first tracks of the persons who stay visible all the same.
        subjects: first tracks of the persons who are hidden where not everybody is.
        location: the source video, to be searched where somebody has been erased from the run; not searched if None.
        settings: what the run was made with; needed with ``location``.
        trusted: a detector that is none of fertrack's own and may be run, if the run was made with it.

    Raises:
        FertrackError: the source has to be searched, and it or the detector cannot be had.
    """
    seen, cuts_s = load_sightings(run.connection, run.number), run.cuts.time_s
    strangers = Sightings.empty()
    if location is not None and settings is not None and run.erased_persons:
        strangers = _of_nobody_known(seen, _without_rows(seen, location, settings, trusted), cuts_s)
    hidden = Sightings.empty()
    if everybody or subjects:
        hidden = replace(seen, subject=with_unclaimed(seen, cuts_s))
        hidden = hidden if everybody else hidden.of(subjects)
    if not everybody and not len(hidden) and not len(strangers):
        return None
    return FaceAnonymiser(FacePaths(hidden.plus(strangers), cuts_s), clear)


def _of_nobody_known(seen: Sightings, strange: Sightings, cuts_s: Float64Array) -> Sightings:
    """Faces in the video that no stored row explains, not even a short gap in a known track."""
    paths = FacePaths(seen.select(np.flatnonzero(seen.subject != NOBODY)), cuts_s)
    kept = []
    for row in range(len(strange)):
        time_s = strange.time_s[row]
        boxes, subjects = paths.at(float(time_s))
        detected = seen.subject[np.abs(seen.time_s - time_s) < _SAME_FRAME_S]
        missed = boxes[~np.isin(subjects, detected)]
        if not len(missed) or iou_matrix(strange.xyxy[row : row + 1], missed).max() < _MISSED_IOU:
            kept.append(row)
    return strange.select(np.array(kept, np.int64))


def _without_rows(stored: Sightings, location: Path, settings: Settings, trusted: str) -> Sightings:
    """Faces that the detector finds in the source and the database has no row of."""
    config = settings.detection
    if config.name not in available_detectors() and config.name != trusted:
        raise ConfigError(
            f"the run was made with the detector {config.name}, which is a program of its own, and the database alone "
            f"is no reason to run it: if you trust it, allow it with --detector {config.name}"
        )
    if config.score_threshold is None:
        config = config.model_copy(update={"score_threshold": settings.tracking.low_score})
    detector = build_detector(config)
    order = np.argsort(stored.time_s, kind="stable")
    times_s, boxes = stored.time_s[order], stored.xyxy[order]
    found = []
    with open_source(location, settings.input) as source:
        for frame in source:
            (detections,) = detector.detect([frame.image])
            start, stop = np.searchsorted(
                times_s, [frame.timestamp_s - _SAME_FRAME_S, frame.timestamp_s + _SAME_FRAME_S]
            )
            known = boxes[start:stop]
            strange = detections.xyxy
            if len(known) and len(strange):
                strange = strange[iou_matrix(strange, known).max(axis=1) < _SAME_FACE_IOU]
            if len(strange):
                count = len(strange)
                nobody = np.full(count, NOBODY, np.int64)
                found.append(Sightings(nobody, np.full(count, frame.timestamp_s), strange.astype(np.float64)))
    every = Sightings.empty()
    return (
        every
        if not found
        else Sightings(
            *(np.concatenate([getattr(part, name) for part in found]) for name in ("subject", "time_s", "xyxy"))
        )
    )
