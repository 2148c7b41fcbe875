"""The remembering half for expressions: logits and track IDs in, probabilities and labels out, frame by frame.

The pipeline uses it on the way, and rescoring uses it on stored logits; being the same code, both give the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fertrack.calibration import Calibrator
from fertrack.smoothing import ExpressionEMA, LabelHold, SmoothingConfig
from fertrack.types import UNCERTAIN, FloatArray, IntArray

__all__ = ["ExpressionFold", "FoldResult"]


@dataclass(frozen=True, slots=True, eq=False)
class FoldResult:
    """What became of one frame's logits. Row i is face i.

    Attributes:
        probabilities: float32 (N, 7), calibrated, this frame alone.
        smoothed: float32 (N, 7), smoothed over the track; equal to ``probabilities`` where the track is -1.
        labels: int64 (N,), index into ``EXPRESSIONS``; -1 = uncertain (always so where the track is -1).
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

    def update(self, timestamp_s: float, track_ids: IntArray, logits: FloatArray) -> FoldResult:
        """Take one frame's faces.

        Args:
            timestamp_s: presentation time of the frame, seconds; must not go back within a video.
            track_ids: int64 (N,), each confirmed track at most once; -1 = not confirmed.
            logits: float32 (N, 7), raw network output, columns as in ``EXPRESSIONS``.

        Raises:
            ValueError: the arrays' shapes do not fit each other.
        """
        if track_ids.shape != (len(logits),):
            raise ValueError(f"track_ids must be int64 ({len(logits)},) beside these logits, got {track_ids.shape}")
        probabilities = self.calibrator.probabilities(logits)
        confirmed = np.flatnonzero(track_ids >= 0)
        if len(confirmed) == len(track_ids):
            smoothed = self._ema.update(timestamp_s, track_ids, probabilities)
            labels = self._hold.update(timestamp_s, track_ids, smoothed, self.calibrator.thresholds)
            return FoldResult(probabilities, smoothed, labels)
        smoothed = probabilities.copy()
        labels = np.full(len(track_ids), UNCERTAIN, np.int64)
        ids = track_ids[confirmed]
        smoothed[confirmed] = self._ema.update(timestamp_s, ids, probabilities[confirmed])
        labels[confirmed] = self._hold.update(timestamp_s, ids, smoothed[confirmed], self.calibrator.thresholds)
        return FoldResult(probabilities, smoothed, labels)
