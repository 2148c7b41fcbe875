"""A run's tracks as MOTChallenge text, for the tools that score and draw trackers.

::

    frame,id,left,top,width,height,confidence,-1,-1,-1

Frames count from 1 there, so ``frame_index`` 0 is frame 1. Boxes are the detector's, in px of the source frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["to_mot"]


def to_mot(timeline: pd.DataFrame) -> str:
    """Rows of ``storage.queries.timeline`` as MOTChallenge text, one line each, in order of frame, then track.

    Args:
        timeline: columns frame_index, track, x1, y1, x2, y2 (px), score; further ones are not used.
    """
    ordered = timeline.sort_values(["frame_index", "track"], kind="stable")
    columns = ordered[["frame_index", "track", "x1", "y1", "x2", "y2", "score"]].itertuples(index=False, name=None)
    return "".join(
        f"{frame + 1},{track},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},{score:.4f},-1,-1,-1\n"
        for frame, track, x1, y1, x2, y2, score in columns
    )
