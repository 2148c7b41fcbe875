"""Memory over time: each track's probabilities, averaged so that one odd frame does not change the label.

An exponential moving average whose weight depends on the time that passed, not on the number of frames, so that a
video sampled at 15, 30 or 60 frames a second gives the same curve: a value's influence halves every half-life.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from fertrack.expression.config import SmoothingConfig
from fertrack.types import EXPRESSIONS, UNCERTAIN, Float64Array, FloatArray, IntArray

__all__ = ["ExpressionEMA", "LabelHold"]


_INITIAL_SLOTS = 16


class _TrackRows:
    """Gives each track a row in its owner's state array, and forgets tracks that would start afresh anyhow."""

    def __init__(self, reset_after_s: float, width: int, dtype: npt.DTypeLike) -> None:
        self._reset_after_s = reset_after_s if reset_after_s > 0.0 else math.inf
        self._row_of: dict[int, int] = {}
        self._last_s = np.empty(_INITIAL_SLOTS)
        self.state = np.empty((_INITIAL_SLOTS, width), dtype)

    def __len__(self) -> int:
        return len(self._row_of)

    def advance(self, timestamp_s: float, track_ids: IntArray) -> tuple[npt.NDArray[np.intp], Float64Array]:
        """Rows of the tracks in ``state`` and seconds since each was last seen; inf for one that starts afresh."""
        ids = track_ids.tolist()
        if len(self._row_of) + len(ids) > len(self._last_s):
            self._make_room(len(ids), timestamp_s)
        for track_id in ids:
            if track_id not in self._row_of:
                self._last_s[len(self._row_of)] = -math.inf
                self._row_of[track_id] = len(self._row_of)
        rows = np.fromiter((self._row_of[track_id] for track_id in ids), np.intp, len(ids))
        elapsed_s = timestamp_s - self._last_s[rows]
        elapsed_s[(elapsed_s > self._reset_after_s) | (elapsed_s < 0.0)] = math.inf
        self._last_s[rows] = timestamp_s
        return rows, elapsed_s

    def _make_room(self, count: int, timestamp_s: float) -> None:
        age_s = timestamp_s - self._last_s
        kept = {k: row for k, row in self._row_of.items() if 0.0 <= age_s[row] <= self._reset_after_s}
        size = max(_INITIAL_SLOTS, 2 * (len(kept) + count))
        rows = np.fromiter(kept.values(), np.intp, len(kept))
        last_s, state = self._last_s[rows], self.state[rows]
        self._last_s = np.empty(size)
        self.state = np.empty((size, state.shape[1]), state.dtype)
        self._last_s[: len(rows)], self.state[: len(rows)] = last_s, state
        self._row_of = {track_id: row for row, track_id in enumerate(kept)}


class ExpressionEMA:
    """Time-aware exponential moving average of the probabilities, one state per track.

    A track's first value is taken as it is. Later ones enter with weight ``a = 1 - 0.5 ** (dt_s / half_life_s)``,
    where ``dt_s`` is the time since the track was last seen. A track unseen for longer than ``reset_after_s``, or
    seen at an earlier time than before, starts afresh.

    >>> ema = ExpressionEMA(SmoothingConfig(half_life_s=1.0))
    >>> _ = ema.update(0.0, np.array([1]), np.eye(7, dtype=np.float32)[:1])
    >>> ema.update(1.0, np.array([1]), np.eye(7, dtype=np.float32)[1:2]).tolist()[0][:2]
    [0.5, 0.5]
    """

    def __init__(self, config: SmoothingConfig) -> None:
        self.config = config
        self._tracks = _TrackRows(config.reset_after_s, len(EXPRESSIONS), np.float64)

    def __len__(self) -> int:
        """Number of tracks remembered."""
        return len(self._tracks)

    def update(self, timestamp_s: float, track_ids: IntArray, probabilities: FloatArray) -> FloatArray:
        """Take one frame's values and return the smoothed ones.

        Args:
            timestamp_s: presentation time of the frame, seconds.
            track_ids: int64 (N,), each at most once.
            probabilities: float32 (N, 7), calibrated.

        Returns:
            float32 (N, 7), rows as given; the same array when smoothing is switched off.
        """
        if not self.config.enabled or len(track_ids) == 0:
            return probabilities
        rows, elapsed_s = self._tracks.advance(timestamp_s, track_ids)
        fresh = np.isinf(elapsed_s)
        past = self.config.past_weight(np.where(fresh, 0.0, elapsed_s))
        past[fresh] = 0.0
        before = np.where(fresh[:, None], 0.0, self._tracks.state[rows])
        now = before * past[:, None] + probabilities * (1.0 - past)[:, None]
        self._tracks.state[rows] = now
        return now.astype(np.float32)


class LabelHold:
    """Hysteresis from smoothed probabilities to labels: small differences do not change a label.

    A track's label stays while its probability reaches its threshold and no other expression leads it by more than
    ``hysteresis_margin``; otherwise the most probable expression becomes the label if it reaches its own threshold,
    and the face is uncertain if not. So a label is never shown below its threshold.
    """

    def __init__(self, config: SmoothingConfig) -> None:
        self.config = config
        self._tracks = _TrackRows(config.reset_after_s, 1, np.int64)

    def update(
        self, timestamp_s: float, track_ids: IntArray, smoothed: FloatArray, thresholds: Float64Array
    ) -> IntArray:
        """Labels of one frame's rows.

        Args:
            timestamp_s: presentation time of the frame, seconds.
            track_ids: int64 (N,), each at most once.
            smoothed: float32 (N, 7).
            thresholds: float64 (7,), least probability for each label.

        Returns:
            int64 (N,), index into ``EXPRESSIONS`` or -1 for uncertain.
        """
        winner = smoothed.argmax(axis=1).astype(np.int64)
        every_row = np.arange(len(winner))
        if self.config.enabled and self.config.hysteresis_margin > 0.0 and len(winner):
            rows, elapsed_s = self._tracks.advance(timestamp_s, track_ids)
            held = np.where(np.isinf(elapsed_s), winner, self._tracks.state[rows, 0])
            held_probability = smoothed[every_row, held]
            close = smoothed[every_row, winner] - held_probability <= self.config.hysteresis_margin
            winner = np.where(close & (held_probability >= thresholds[held]), held, winner)
            self._tracks.state[rows, 0] = winner
        labels: IntArray = np.where(smoothed[every_row, winner] >= thresholds[winner], winner, UNCERTAIN)
        return labels
