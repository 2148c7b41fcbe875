"""Episodes as subtitles, ``Ana: happiness 0.82`` or ``P2: happiness 0.82``: who showed what, over the original video.

One cue per episode, in order of time, everybody's in one file (cues of several persons may be shown at once) or, with
``--track``, one person's. The number is the episode's mean smoothed probability. Times are those of the video: to the
millisecond in SRT (SubRip) and VTT (WebVTT), to the hundredth of a second in ASS (Advanced SubStation Alpha v4.00+).
In ASS each person has a style in the colour of their box in the annotated video.

Names are text, never markup: signs that mean something to the format are replaced, line breaks become spaces.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fertrack.reporting.exports.selection import Selection

__all__ = ["RENDERERS", "Cue", "cues", "to_ass", "to_srt", "to_vtt"]


@dataclass(frozen=True, slots=True)
class Cue:
    """One episode.

    Attributes:
        track: ID of the person's first track within the run.
        who: the name, or ``P2``; ``ID 2`` for a track that is nobody's.
        text: the expression estimate and its mean probability.
        start_s: when it begins, seconds.
        end_s: when it ends, seconds.
        number: the person's, in ``P2``; 0 for a track that is nobody's.
    """

    track: int
    who: str
    text: str
    start_s: float
    end_s: float
    number: int = 0

    @property
    def key(self) -> str:
        """``P2``, or ``ID 2``: what no other person has."""
        return f"P{self.number}" if self.number else f"ID {self.track}"


def cues(chosen: Selection) -> list[Cue]:
    """The chosen episodes in order of time, then of track.

    Raises:
        RunNotFoundError: there is no such track in the run.
    """
    from fertrack.storage.queries.timeline import episodes as ask_episodes

    episodes = ask_episodes(
        chosen.run,
        track=chosen.track,
        min_duration_s=chosen.config.min_episode_s,
        max_gap_s=chosen.config.max_gap_s,
    )
    first, numbers = chosen.run.subjects.first_tracks(), chosen.run.subjects.person_numbers()
    ordered = episodes.sort_values(["start_s", "track"], kind="stable")
    return [
        Cue(
            track=first[int(row["track"])],
            who=" ".join(row["person"].split()) if isinstance(row["person"], str) else f"ID {row['track']}",
            text=f"{row['expression']} {row['mean_probability']:.2f}",
            start_s=float(row["start_s"]),
            end_s=float(row["end_s"]),
            number=numbers.get(int(row["track"]), 0),
        )
        for row in ordered.to_dict("records")
    ]


def to_srt(lines: Sequence[Cue], _size: tuple[int, int] = (0, 0)) -> str:
    """The cues as SubRip text."""
    blocks = []
    for number, cue in enumerate(lines, start=1):
        start, end = _milliseconds(cue)
        who = cue.who.translate(_NO_TAGS).replace("-->", "→")
        blocks.append(f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{who}: {cue.text}\n")
    return "\n".join(blocks)


def to_vtt(lines: Sequence[Cue], _size: tuple[int, int] = (0, 0)) -> str:
    """The cues as WebVTT text."""
    blocks = ["WEBVTT\n", "NOTE\nExpression estimates: how a face looks, not what a person feels.\n"]
    for cue in lines:
        start, end = _milliseconds(cue)
        who = cue.who.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        blocks.append(f"{_clock(start, '.')} --> {_clock(end, '.')}\n{who}: {cue.text}\n")
    return "\n".join(blocks)


def to_ass(lines: Sequence[Cue], size: tuple[int, int]) -> str:
    """The cues as Advanced SubStation Alpha text, for an image of that width and height, px."""
    from fertrack.imaging.track_labels import person_bgr

    width, height = size
    font_px, outline_px = max(12, round(height / 18)), max(1, round(height / 360))
    styles = []
    for key, number in sorted({(cue.key, cue.number or cue.track) for cue in lines}, key=lambda each: each[1]):
        blue, green, red = person_bgr(number)
        colour = f"&H00{blue:02X}{green:02X}{red:02X}"
        styles.append(
            f"Style: {key},Arial,{font_px},{colour},{colour},&H00000000,&H80000000,"
            f"-1,0,0,0,100,100,0,0,1,{outline_px},0,2,10,10,{max(4, round(height / 40))},1"
        )
    dialogue = []
    for cue in lines:
        start, end = (round(moment / 10) for moment in _milliseconds(cue))
        who = cue.who.translate(_NO_OVERRIDES)
        times = f"{_ass_clock(start)},{_ass_clock(max(end, start + 1))}"
        dialogue.append(f"Dialogue: 0,{times},{cue.key},,0,0,0,,{who}: {cue.text}")
    head = [
        "[Script Info]",
        "Title: expression estimates",
        "ScriptType: v4.00+",
        "WrapStyle: 0",
        "ScaledBorderAndShadow: yes",
        f"PlayResX: {width}",
        f"PlayResY: {height}",
        "",
        "[V4+ Styles]",
        "Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, "
        "Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, "
        "MarginR, MarginV, Encoding",
    ]
    events = ["", "[Events]", "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text"]
    return "\n".join(itertools.chain(head, styles, events, dialogue)) + "\n"


RENDERERS: dict[str, Callable[[Sequence[Cue], tuple[int, int]], str]] = {"srt": to_srt, "vtt": to_vtt, "ass": to_ass}
"""Format: function that writes it."""

_NO_TAGS = str.maketrans("<>{}", "‹›()")
_NO_OVERRIDES = str.maketrans("{}\\", "()/")


def _milliseconds(cue: Cue) -> tuple[int, int]:
    """Begin and end; a cue of a single image still lasts a millisecond."""
    start = max(0, round(cue.start_s * 1000))
    return start, max(round(cue.end_s * 1000), start + 1)


def _clock(milliseconds: int, point: str) -> str:
    seconds, fraction = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{fraction:03}"


def _ass_clock(hundredths: int) -> str:
    seconds, fraction = divmod(hundredths, 100)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:02}"
