"""Where faces are by now: the tracker's motion model, carried on from the last result to the frame that is shown."""

from __future__ import annotations

import numpy as np

from fertrack.geometry import corners_of, xyxy_to_uvsr
from fertrack.types import FloatArray

__all__ = ["predicted_xyxy"]


def predicted_xyxy(xyxy: FloatArray, velocity: FloatArray, frames: float) -> FloatArray:
    """Boxes moved on by so many frames with constant velocity: the prediction step of SORT's filter, x = F x.

    The state is that of Bewley et al. (arXiv 1602.00763, section 3.2): centre u, v and area s move, the aspect ratio
    stays. An area that would shrink to nothing stays as it is, as the tracker has it.

    Args:
        xyxy: float32 (N, 4), the tracks' boxes in the frame of the result, px.
        velocity: float32 (N, 3), per frame: of u, v (px) and s (px²).
        frames: frame intervals since the result, >= 0; need not be whole.

    Returns:
        float32 (N, 4), px; may reach beyond the frame.

    >>> box, speed = np.array([[10, 10, 20, 20]], np.float32), np.array([[2, 0, 0]], np.float32)
    >>> predicted_xyxy(box, speed, 2.5).tolist()
    [[15.0, 10.0, 25.0, 20.0]]
    """
    if not len(xyxy) or frames <= 0.0:
        return xyxy
    proper = (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1]) & np.isfinite(xyxy).all(axis=1)
    moved = xyxy.astype(np.float64)
    state = xyxy_to_uvsr(moved[proper])
    ahead = state[:, :3] + frames * velocity[proper]
    vanishing = ahead[:, 2] <= 0.0
    ahead[vanishing, 2] = state[vanishing, 2]
    state[:, :3] = ahead
    moved[proper] = corners_of(state)
    return moved.astype(np.float32)
