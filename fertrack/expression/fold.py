"""The remembering half for expressions: logits and track IDs in, probabilities and labels out, frame by frame.

The pipeline uses it on the way, and rescoring uses it on stored logits; being the same code, both give the same rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fertrack.expression.calibration import Calibrator
from fertrack.expression.config import SmoothingConfig
from fertrack.expression.smoothing import ExpressionEMA, LabelHold
from fertrack.types import EXPRESSIONS, NOT_READABLE, UNCERTAIN, BoolArray, FloatArray, IntArray

__all__ = ["ExpressionFold", "FoldResult"]

_NOTHING_KNOWN = np.full(len(EXPRESSIONS), 1.0 / len(EXPRESSIONS), np.float32)
_MAX_REMEMBERED = 256


@dataclass(frozen=True, slots=True, eq=False)
class FoldResult:
    """Estimates of one frame after calibration and smoothing. Row i is face i.

    Attributes:
        probabilities: float32 (N, 7), calibrated, this frame alone; NaN where no estimate was made.
        smoothed: float32 (N, 7), smoothed over the track; equal to ``probabilities`` where the track is -1.
        labels: int64 (N,), index into ``EXPRESSIONS``; -1 = uncertain (always so where the track is -1); -2 = not
            readable.
    """

    probabilities: FloatArray
    smoothed: FloatArray
    labels: IntArray


class ExpressionFold:
    """Calibrates, smooths and labels one video's faces, in frame order. One instance per video.

    Attributes:
        calibrator: turns logits into probabilities.
        smoothing: how they are smoothed.
    """

    def __init__(self, calibrator: Calibrator, smoothing: SmoothingConfig) -> None:
        self.calibrator = calibrator
        self.smoothing = smoothing
        self._ema = ExpressionEMA(smoothing)
        self._hold = LabelHold(smoothing)
        self._last: dict[int, tuple[float, FloatArray, int]] = {}  # each track's last estimate

    def update(
        self, timestamp_s: float, track_ids: IntArray, logits: FloatArray, quality: FloatArray | None = None
    ) -> FoldResult:
        """Take one frame's faces.

        A face whose logits are NaN has no estimate in this frame: its track keeps the smoothed probabilities and the
        label it had, and what comes next is weighed by the time since its last estimate. A track that has none yet
        (or none within ``reset_after_s``) is uncertain, with equal probabilities.

        A face of less quality than ``calibration.min_quality`` is treated likewise, but its label is not readable.

        Args:
            timestamp_s: presentation time of the frame, seconds; must not go back within a video.
            track_ids: int64 (N,), each confirmed track at most once; -1 = not confirmed.
            logits: float32 (N, 7), raw network output, columns as in ``EXPRESSIONS``; NaN: no estimate.
            quality: float32 (N,), 0 to 1; NaN, or None altogether: not judged, and so readable.

        Raises:
            ValueError: the arrays' shapes do not fit each other.
        """
        if track_ids.shape != (len(logits),):
            raise ValueError(f"track_ids must be int64 ({len(logits)},) beside these logits, got {track_ids.shape}")
        probabilities = self.calibrator.probabilities(logits)
        estimated = ~np.isnan(logits).any(axis=1)
        unreadable = self._unreadable(quality, track_ids)
        if unreadable is not None:
            estimated &= ~unreadable
        confirmed = np.flatnonzero((track_ids >= 0) & estimated)
        if len(confirmed) == len(track_ids):
            smoothed = self._ema.update(timestamp_s, track_ids, probabilities)
            labels = self._hold.update(timestamp_s, track_ids, smoothed, self.calibrator.thresholds)
            self._remember(timestamp_s, track_ids, smoothed, labels)
            return FoldResult(probabilities, smoothed, labels)
        smoothed = probabilities.copy()
        labels = np.full(len(track_ids), UNCERTAIN, np.int64)
        ids = track_ids[confirmed]
        smoothed[confirmed] = self._ema.update(timestamp_s, ids, probabilities[confirmed])
        labels[confirmed] = self._hold.update(timestamp_s, ids, smoothed[confirmed], self.calibrator.thresholds)
        if not estimated.all():
            for row in np.flatnonzero((track_ids >= 0) & ~estimated):
                smoothed[row], labels[row] = self._kept(int(track_ids[row]), timestamp_s)
        if unreadable is not None:
            labels[unreadable] = NOT_READABLE
        self._remember(timestamp_s, ids, smoothed[confirmed], labels[confirmed])
        return FoldResult(probabilities, smoothed, labels)

    def _unreadable(self, quality: FloatArray | None, track_ids: IntArray) -> BoolArray | None:
        """Mask of the tracked faces that are of too little quality, (N,); None if there are none."""
        if quality is None:
            return None
        # Whole ten-thousandths, as they are stored, so that rescoring decides alike.
        least = round(self.calibrator.config.min_quality * 1e4)
        with np.errstate(invalid="ignore"):
            found: BoolArray = (np.rint(quality * np.float64(1e4)) < least) & (track_ids >= 0)
        return found if found.any() else None

    def _kept(self, track_id: int, timestamp_s: float) -> tuple[FloatArray, int]:
        """Smoothed probabilities and label of a track's last estimate."""
        last_s, smoothed, label = self._last.get(track_id, (-math.inf, _NOTHING_KNOWN, UNCERTAIN))
        return (smoothed, label) if self._is_recent(timestamp_s - last_s) else (_NOTHING_KNOWN, UNCERTAIN)

    def _remember(self, timestamp_s: float, track_ids: IntArray, smoothed: FloatArray, labels: IntArray) -> None:
        for track_id, row, label in zip(track_ids.tolist(), smoothed, labels.tolist(), strict=True):
            self._last[track_id] = timestamp_s, row, label
        if len(self._last) > _MAX_REMEMBERED + len(track_ids):
            self._last = {key: last for key, last in self._last.items() if self._is_recent(timestamp_s - last[0])}

    def _is_recent(self, elapsed_s: float) -> bool:
        return 0.0 <= elapsed_s <= (self.smoothing.reset_after_s or math.inf) and math.isfinite(elapsed_s)
