"""Labels over time on real clips from other cameras, compared with a viewer's annotation of some passages.

Faces of training data are not among them, and nothing was fitted to them. The passages of the two clips called pyfeat
follow a description that came with them; the others were written down by one viewer before any estimate for them was
looked at. What is ambiguous, a face between two expressions for example, is in none. They are few, so this tells
whether the whole way from video to label works elsewhere, not how well to a point.

Run ``python -m fertrack.benchmarks passages VIDEOS OUT.md [BUNDLE...]``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fertrack.config import Settings, load_settings
from fertrack.evaluation.intervals import Interval
from fertrack.models.bundle import load_bundle
from fertrack.process import process_video

__all__ = ["PASSAGES", "Passage", "Shares", "main", "measure_passages", "passages_table"]

_SEED, _RESAMPLES = 7, 2000


@dataclass(frozen=True, slots=True)
class Passage:
    """Annotated segment of a clip: one person, one expression.

    Attributes:
        video: file name.
        start_s: presentation time, s.
        end_s: not included.
        shows: the expression, or several where each may be said.
    """

    video: str
    start_s: float
    end_s: float
    shows: tuple[str, ...]


PASSAGES = (
    Passage("pyfeat_single_face.mp4", 0.0, 0.6, ("neutral",)),
    Passage("pyfeat_single_face.mp4", 0.9, 2.1, ("happiness",)),
    Passage("pyfeat_WolfgangLanger_Pexels.mp4", 1.7, 9.5, ("sadness",)),
    Passage("pyfeat_WolfgangLanger_Pexels.mp4", 10.5, 19.6, ("happiness",)),
    Passage("liveportrait_d0.mp4", 0.0, 0.4, ("neutral",)),
    Passage("liveportrait_d0.mp4", 1.0, 2.1, ("happiness",)),
    Passage("liveportrait_d3.mp4", 3.7, 5.2, ("anger", "sadness")),
    Passage("liveportrait_d3.mp4", 7.7, 8.8, ("anger", "sadness")),
    Passage("liveportrait_d3.mp4", 10.0, 11.7, ("surprise",)),
    Passage("liveportrait_d10.mp4", 2.5, 3.2, ("surprise",)),
    Passage("liveportrait_d13.mp4", 6.5, 7.6, ("happiness",)),
    Passage("liveportrait_d18.mp4", 2.3, 3.0, ("surprise",)),
    Passage("liveportrait_d18.mp4", 5.5, 7.0, ("sadness",)),
)
"""Seven people. Happiness, surprise, sadness, anger and neutral: nobody is afraid or disgusted for certain."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Of the frames of a passage, the shares with the right label, with *uncertain*, and with another or no face."""

    right: float
    uncertain: float

    @property
    def wrong(self) -> float:
        """Share of the rest."""
        return 1.0 - self.right - self.uncertain


def measure_passages(videos: Path, settings: Settings, passages: Sequence[Passage] = PASSAGES) -> list[Shares]:
    """Process the clips, and compare the smoothed labels with what is shown.

    Args:
        videos: folder of the clips.
        settings: how they are processed; no report and no video are made.
        passages: in any order.

    Returns:
        Per passage.

    Raises:
        VideoOpenError: a clip is missing.
    """
    timelines: dict[str, pd.DataFrame] = {}
    with tempfile.TemporaryDirectory(prefix="fertrack-passages-") as work:
        for name in dict.fromkeys(passage.video for passage in passages):
            timelines[name] = process_video(videos / name, Path(work) / Path(name).stem, settings=settings).timeline()
    return [_shares(timelines[passage.video], passage) for passage in passages]


def passages_table(passages: Sequence[Passage], measured: dict[str, list[Shares]]) -> str:
    """A Markdown table: per passage and classifier, shares of frames right, uncertain and wrong, in percent.

    Args:
        passages: those measured.
        measured: per classifier, per passage.
    """
    lines = [
        f"| clip | from-to, s | shows | {' | '.join(measured)} |",
        f"|---|---|---|{'---|' * len(measured)}",
    ]
    for row, passage in enumerate(passages):
        cells = [_percent(shares[row]) for shares in measured.values()]
        where = f"{passage.start_s:g}-{passage.end_s:g}"
        lines.append(f"| {passage.video} | {where} | {' or '.join(passage.shows)} | {' | '.join(cells)} |")
    means = [_percent(_mean(shares)) for shares in measured.values()]
    lines.append(f"| **mean of the passages** | | | {' | '.join(means)} |")
    right = [_interval([each.right for each in shares]) for shares in measured.values()]
    lines.append(f"| right, 95 % interval | | | {' | '.join(right)} |")
    return "\n".join(lines)


def _shares(rows: pd.DataFrame, passage: Passage) -> Shares:
    """Of one-person clips: the share of faces, one in each frame."""
    labels = rows["label"][rows["time_s"].between(passage.start_s, passage.end_s, inclusive="left")]
    if labels.empty:
        return Shares(0.0, 0.0)
    return Shares(float(labels.isin(passage.shows).mean()), float((labels == "uncertain").mean()))


def _mean(shares: Sequence[Shares]) -> Shares:
    return Shares(float(np.mean([each.right for each in shares])), float(np.mean([each.uncertain for each in shares])))


def _percent(shares: Shares) -> str:
    wrong = abs(shares.wrong)  # rounding must not make it -0
    return f"{shares.right:.0%} / {shares.uncertain:.0%} / {wrong:.0%}".replace("%", "")


def _interval(values: Sequence[float]) -> str:
    """Percentile bootstrap over passages."""
    drawn = np.random.default_rng(_SEED).choice(np.asarray(values), (_RESAMPLES, len(values))).mean(axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return str(Interval(float(np.mean(values)), float(low), float(high)))


def main(arguments: Sequence[str]) -> int:
    """Process the clips with each bundle and write the report."""
    parser = argparse.ArgumentParser(
        prog="python -m fertrack.benchmarks passages", description="Labels on real clips against what is shown in them."
    )
    parser.add_argument("videos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("bundles", nargs="*", default=["default"])
    given = parser.parse_args(arguments)
    measured = {}
    for name in given.bundles:
        quiet = ["report.html=false", "video.enabled=false", "linking.method=off", f"classification.bundle={name}"]
        measured[load_bundle(name).fingerprint] = measure_passages(given.videos, load_settings([], quiet))
    text = (
        "# Labels on real clips from other cameras\n\n"
        "Processed as `fertrack process` does by default, smoothed labels, each classifier with its own calibration. "
        "What the pyfeat clips show follows a description that came with them, what the others show was written down "
        "by one viewer before any estimate for them was looked at; nothing was fitted to either. "
        f"{len(PASSAGES)} passages of {len({each.video for each in PASSAGES})} people: mind the interval (bootstrap "
        "over passages). Percent of the frames: right / *uncertain* / wrong; smoothed, a label comes a little after "
        "the face. Written by `python -m fertrack.benchmarks passages`.\n\n"
        f"{passages_table(PASSAGES, measured)}\n"
    )
    given.out.write_text(text, encoding="utf-8")
    return 0
