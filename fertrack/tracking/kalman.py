"""SORT's constant-velocity Kalman filter over boxes, for all tracks at once.

State and model are those of Bewley et al., "Simple Online and Realtime Tracking" (arXiv 1602.00763), section 3.2:
x = [u, v, s, r, u̇, v̇, ṡ] with centre u, v in px, area s in px², aspect ratio r = width / height held constant, and
velocities per frame. Only [u, v, s, r] is measured. Prediction and update are the textbook ones, and the numbers agree
with ``filterpy.kalman.KalmanFilter``.

Each of u, v and s depends on its own velocity only, the noises are diagonal, and so the 7 x 7 covariances consist of
three 2 x 2 blocks and one number for ever. The filter keeps just those: with r as a fourth channel whose velocity is
zero and certain, every step is arithmetic on (T, 4) columns, without a matrix product or inverse.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fertrack.imaging.geometry import corners_of

__all__ = ["BoxKalman", "BoxNoise"]

Float64Array = npt.NDArray[np.float64]

_AREA = 2
_RATIO = 3
_ZERO, _ONE, _TWO = np.array(0.0), np.array(1.0), np.array(2.0)  # NumPy would make these of floats in every step
_LONGEST_LINE = 60
"""Frames over which a straight line is believed."""
_JITTER_MEMORY = 50
"""Updates over which jitter is averaged."""
_JUMP = 0.25**2
"""Most that one measurement adds to the jitter."""
_MOVING = 3  # channels u, v, s have a velocity; r has none


@dataclass(frozen=True, slots=True)
class BoxNoise:
    """Variances of the filter, each a diagonal; the defaults are the constants behind SORT's published figures.

    Attributes:
        initial: of a new track's state (u, v, s, r, u̇, v̇, ṡ); the velocities start at 0 and are all but unknown.
        process: added to the state by each predicted frame.
        measurement: of a measured (u, v, s, r).
    """

    initial: tuple[float, float, float, float, float, float, float] = (10.0, 10.0, 10.0, 10.0, 1e4, 1e4, 1e4)
    process: tuple[float, float, float, float, float, float, float] = (1.0, 1.0, 1.0, 1.0, 0.01, 0.01, 1e-4)
    measurement: tuple[float, float, float, float] = (1.0, 1.0, 10.0, 10.0)

    def with_velocity_noise(self, factor: float) -> BoxNoise:
        """The same with the velocities' process noise multiplied by ``factor``: changes of speed are likelier."""
        u, v, s, r, u_speed, v_speed, s_speed = self.process
        return replace(self, process=(u, v, s, r, factor * u_speed, factor * v_speed, factor * s_speed))


class BoxKalman:
    """T box filters as columns: one call predicts or updates them all. Row i stays row i until ``keep``.

    Args:
        noise: variances of the model.

    Attributes:
        jitter: by how much the measured aspect ratios lately differed from the filtered ones, as a share of the ratio,
            mean square over all filters. A face hardly changes its shape from frame to frame, so this is the detector's
            own noise: about 0.045 (rms) for a face detector, and 0.15 for the pedestrian detections of MOT15.

    Example:
        >>> import numpy as np
        >>> filters = BoxKalman()
        >>> filters.add(np.array([[50.0, 60.0, 400.0, 1.0]]))
        >>> filters.predict()
        >>> filters.update(np.array([0]), np.array([[52.0, 60.0, 400.0, 1.0]]))
        >>> filters.xyxy.round(1).tolist()
        [[42.0, 50.0, 62.0, 70.0]]
    """

    def __init__(self, noise: BoxNoise | None = None) -> None:
        self._noise = noise = noise or BoxNoise()
        self._initial_position, self._initial_velocity = _by_channel(noise.initial)
        self._process_position, self._process_velocity = _by_channel(noise.process)
        # Both repeated for every filter: arithmetic on arrays of one shape is twice as fast for few of them.
        self._measurement = np.array([noise.measurement])
        self._single_step_noise = np.stack(self._noise_over(1.0))[:, None]
        # Position, velocity, and the variance of each, with the covariance between: (5, T, 4).
        self._state = np.empty((5, 0, 4))
        # The same as it was after the last measurement, that measurement, and the frames predicted since: for retrace.
        self._settled = np.empty((5, 0, 4))
        self._measured = np.empty((0, 4))
        self._frames_since = np.empty(0, dtype=np.int64)
        self.jitter = 0.0
        self._updates = 0

    def __len__(self) -> int:
        return self._state.shape[1]

    @property
    def means(self) -> Float64Array:
        """States, float64 (T, 7): u, v, s, r, u̇, v̇, ṡ; px, px², per frame. A copy."""
        return np.concatenate([self._state[0], self._state[1, :, :_MOVING]], axis=1)

    @property
    def velocities(self) -> Float64Array:
        """Velocities of u, v, s, float64 (T, 3): px, px, px² per frame. A copy."""
        return self._state[1, :, :_MOVING].copy()

    @property
    def covariances(self) -> Float64Array:
        """Covariances of the states, float64 (T, 7, 7). A copy."""
        full = np.zeros((len(self), 7, 7))
        position, velocity = np.arange(4), np.arange(4, 7)
        full[:, position, position] = self._state[2]
        full[:, position[:_MOVING], velocity] = full[:, velocity, position[:_MOVING]] = self._state[3, :, :_MOVING]
        full[:, velocity, velocity] = self._state[4, :, :_MOVING]
        return full

    @property
    def xyxy(self) -> Float64Array:
        """The boxes, float64 (T, 4), px; they may reach beyond the frame."""
        with np.errstate(all="ignore"):
            return corners_of(self._state[0])

    def add(self, uvsr: npt.NDArray[Any]) -> None:
        """Append a filter for each measured box, float64 (N, 4): centre, area, aspect ratio, all finite."""
        born = np.zeros((5, len(uvsr), 4))
        born[0] = uvsr
        born[2] = self._initial_position
        born[4] = self._initial_velocity
        self._state = np.concatenate([self._state, born], axis=1)
        self._settled = np.concatenate([self._settled, born], axis=1)
        self._measured = np.concatenate([self._measured, uvsr])
        self._frames_since = np.concatenate([self._frames_since, np.zeros(len(uvsr), dtype=np.int64)])
        if len(self) > len(self._measurement):
            self._measurement = np.repeat(self._measurement[:1], len(self), axis=0)
            self._single_step_noise = np.repeat(self._single_step_noise[:, :1], len(self), axis=1)

    def keep(self, rows: npt.NDArray[Any]) -> None:
        """Keep only the filters at ``rows`` (a boolean mask (T,) or integer indices), in that order."""
        self._state = self._state[:, rows]
        self._settled = self._settled[:, rows]
        self._measured = self._measured[rows]
        self._frames_since = self._frames_since[rows]

    def rescale(self, factor: float) -> None:
        """Let a step of ``predict`` be ``factor`` times as long from now on: velocities are per step."""
        for state in (self._state, self._settled):
            state[1] *= factor
            state[3] *= factor
            state[4] *= factor * factor

    def set_noise(self, noise: BoxNoise) -> None:
        """Predict with other process noise from now on."""
        self._noise = noise
        self._process_position, self._process_velocity = _by_channel(noise.process)
        self._single_step_noise = np.repeat(np.stack(self._noise_over(1.0))[:, None], len(self._measurement), axis=1)

    def last_measured(self, rows: npt.NDArray[Any]) -> tuple[Float64Array, Float64Array]:
        """Last measurements, float64 (K, 4), of some filters, and the velocities of u, v, s then, (K, 3)."""
        return self._measured[rows], self._settled[1, rows, :_MOVING]

    def predict(self, steps: int = 1) -> None:
        """Move every filter on by ``steps`` frames: x = F x, P = F P Fᵀ + Q, each frame.

        Many steps cost no more than one: powers of F have a closed form. An area that would shrink to 0 or below stops
        shrinking one frame before: its velocity is set to 0, as SORT does.

        Raises:
            ValueError: steps < 1.
        """
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        position, velocity, variance, covariance, speed_variance = self._state
        self._stop_shrinking(steps)
        if steps == 1:  # the usual case, as below without what has no effect then
            added, added_covariance, added_speed = self._single_step_noise[:, : len(self)]
            position += velocity
            variance += _TWO * covariance + speed_variance + added
            covariance += speed_variance + added_covariance
        else:
            k = float(steps)
            added, added_covariance, added_speed = self._noise_over(k)
            position += k * velocity
            variance += 2.0 * k * covariance + (k * k) * speed_variance + added
            covariance += k * speed_variance + added_covariance
        speed_variance += added_speed
        self._frames_since += steps

    def _noise_over(self, k: float) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Process noise gathered in k steps, by channel: sums of Fⁱ Q Fᵀⁱ, hence of 1, i and i² for i = 0 .. k - 1."""
        sum_i, sum_ii = k * (k - 1.0) / 2.0, (k - 1.0) * k * (2.0 * k - 1.0) / 6.0
        drift = self._process_velocity
        return k * self._process_position + sum_ii * drift, sum_i * drift, k * drift

    def _stop_shrinking(self, k: int) -> None:
        area, growth = self._state[0, :, _AREA], self._state[1, :, _AREA]
        stops = area + (growth if k == 1 else k * growth) <= _ZERO
        if np.count_nonzero(stops):
            # The last frame at which the area is still above 0; the rest of the steps leave it there.
            start, speed = area[stops], growth[stops]
            shrinking = (start > 0.0) & (speed < 0.0)
            frames = np.zeros(len(start))
            frames[shrinking] = np.ceil(start[shrinking] / -speed[shrinking]) - 1.0
            area[stops] = np.maximum(start + frames * speed, 0.0)
            growth[stops] = 0.0

    def update(
        self,
        rows: npt.NDArray[np.integer[Any]],
        uvsr: npt.NDArray[Any],
        distrusted: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Take one measurement each for some filters.

        K = P Hᵀ S⁻¹ with S = H P Hᵀ + R, x = x + K (z - H x), P = (I - K H) P. S is diagonal here, so the inverse is a
        division. (Equal to filterpy's P = (I - K H) P (I - K H)ᵀ + K R Kᵀ for this K.)

        Args:
            rows: int (K,), which filters, each at most once.
            uvsr: (K, 4), their measurements: centre px, area px², width / height; all finite.
            distrusted: bool (K,), which measurements say little of the motion: they move the filter's position by half
                of what they otherwise would, and leave its velocity and covariances as predicted. None: none do.
        """
        chosen = self._state.take(rows, axis=1)
        coasting = None if distrusted is None else chosen[:, distrusted]
        position, variance, covariance, speed_variance = chosen[0], chosen[2], chosen[3], chosen[4]
        noise = self._measurement[: len(rows)]
        gains = chosen[2:4] * (_ONE / (variance + noise))  # of position and velocity
        innovation = uvsr - position
        self._learn_jitter(innovation[:, _RATIO] / uvsr[:, _RATIO])
        chosen[:2] += gains * innovation
        speed_variance -= gains[1] * covariance
        # What is left of variance and covariance is 1 - gain of them, which is the gain times the measurement's noise:
        # without a difference of nearly equal numbers, as new tracks' variances shrink by orders of magnitude.
        np.multiply(gains, noise, out=chosen[2:4])
        if coasting is not None:
            coasting[0] = 0.5 * (coasting[0] + chosen[0, distrusted])
            chosen[:, distrusted] = coasting
        if rows.tolist() == list(range(len(self))):  # all in order, as is usual: nothing to put in its place
            self._state, self._settled = chosen, chosen.copy()
            self._measured = np.array(uvsr, dtype=np.float64)
            self._frames_since[:] = 0
            return
        self._state[:, rows] = self._settled[:, rows] = chosen
        self._measured[rows] = uvsr
        self._frames_since[rows] = 0

    def _learn_jitter(self, off: Float64Array) -> None:
        if len(off):
            self._updates = min(self._updates + 1, _JITTER_MEMORY)
            self.jitter += (float(np.minimum(off * off, _JUMP).sum()) / len(off) - self.jitter) / self._updates

    def retrace(self, rows: npt.NDArray[np.integer[Any]], uvsr: npt.NDArray[Any]) -> None:
        """Before the update that ends a gap: estimate the motion across it anew, from both its ends.

        A filter without measurements runs on with the speed it had, and its variance grows; the first measurement
        after a gap then throws its velocity about. So it goes back to where it was before the gap, and takes boxes on
        the straight line from the last measurement to this one instead, one for each frame in between
        (observation-centric re-update, OC-SORT, arXiv 2203.14360, section 4.1).

        Args:
            rows: int (K,), which filters are about to be updated; those measured in the frame before stay as they are,
                and so do those unseen for longer than a straight line can be believed in.
            uvsr: (K, 4), their new measurements.
        """
        gaps = self._frames_since[rows]
        if not np.count_nonzero(gaps > 1):
            return
        for gap in np.unique(gaps[(gaps > 1) & (gaps <= _LONGEST_LINE)]).tolist():
            returned = rows[gaps == gap]
            start, end = _sized(self._measured[returned]), _sized(uvsr[gaps == gap])
            again = BoxKalman(self._noise)
            again.add(self._measured[returned])
            again._state = self._settled[:, returned]
            everyone = np.arange(len(returned))
            for frame in range(1, gap):
                again.predict()
                again.update(everyone, _unsized(start + (end - start) * (frame / gap)))
            again.predict()
            self._state[:, returned] = again._state


def _by_channel(diagonal: tuple[float, ...]) -> tuple[Float64Array, Float64Array]:
    """Split seven variances into those of the positions (4,) and of the velocities (4,), r's being 0."""
    return np.array(diagonal[:4]), np.array([*diagonal[4:], 0.0])


def _sized(uvsr: Float64Array) -> Float64Array:
    """Centre, area, ratio (N, 4) as centre, width, height."""
    width = np.sqrt(uvsr[:, 2] * uvsr[:, 3])
    return np.column_stack([uvsr[:, :2], width, uvsr[:, 2] / width])


def _unsized(sized: Float64Array) -> Float64Array:
    """Inverse of ``_sized``."""
    width, height = sized[:, 2], sized[:, 3]
    return np.column_stack([sized[:, :2], width * height, width / height])
