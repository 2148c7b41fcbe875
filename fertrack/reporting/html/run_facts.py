"""Facts about a run in words: source, networks, calibration, cautions, and speed over time."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fertrack.expression.calibration import CalibrationRecord
from fertrack.expression.reliability import Reliability
from fertrack.reporting.html.wording import count, duration, percent, plural
from fertrack.storage.queries.timing import speed_over_time, stage_timings
from fertrack.storage.recordings import STATED
from fertrack.types import EXPRESSIONS

if TYPE_CHECKING:
    from fertrack.storage.facts import RunFacts
if TYPE_CHECKING:
    import pandas as pd

    from fertrack.storage.stored_run import StoredRun

__all__ = [
    "Calibration",
    "Card",
    "Notice",
    "Speed",
    "calibration_rows",
    "cards",
    "notices",
    "read_calibration",
    "read_speed",
    "source_rows",
]


@dataclass(frozen=True, slots=True)
class Notice:
    """Caution for the reader, to be read before the numbers.

    Attributes:
        title: a few words.
        text: one or two sentences.
        serious: whether the numbers themselves are in doubt.
    """

    title: str
    text: str
    serious: bool = True


@dataclass(frozen=True, slots=True)
class Card:
    """One number of the summary with what it counts."""

    value: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """The calibration in force, for people.

    Attributes:
        state: "calibrated" or "not calibrated", with ", changed by settings" where they do; or "not recorded".
        trusted: whether the classifier's values were fitted on labelled images.
        rows: name and value of each setting.
        table: per expression: name, training prior, target prior, bias, threshold, as text.
        changed: whether settings of the run replace values of the classifier.
        reliability: the classifier's own, as measured; None: not measured, or not recorded.
    """

    state: str
    trusted: bool
    rows: tuple[tuple[str, str], ...]
    table: tuple[tuple[str, ...], ...]
    changed: bool = False
    reliability: Reliability | None = None

    @property
    def recorded(self) -> bool:
        """Whether the run says how its probabilities were made."""
        return bool(self.table)


def read_calibration(stored: CalibrationRecord | None) -> Calibration:
    """Put the calibration of a run into words; None is "not recorded"."""
    if stored is None:
        return Calibration("not recorded", trusted=False, rows=(), table=())
    own, trusted, changed = stored.classifier, stored.calibrated, stored.departs
    rows = (
        ("Temperature", _against(stored.temperature, own.temperature)),
        ("Strength of the prior correction", _against(stored.prior_strength, own.prior_strength)),
    )
    by_class = zip(stored.training_prior, stored.target_prior, stored.bias, stored.thresholds, strict=True)
    table = tuple(
        (name, f"{training:.1%}", f"{target:.1%}", f"{bias:+.3f}", f"{threshold:.0%}")
        for name, (training, target, bias, threshold) in zip(EXPRESSIONS, by_class, strict=True)
    )
    state = "calibrated" if trusted else "not calibrated"
    words = state + (", changed by settings" if changed else "")
    return Calibration(words, trusted, rows, table, changed, own.reliability)


def notices(
    facts: RunFacts, calibration: Calibration, persons: int, corrected: int = 0, counted: int = 0
) -> list[Notice]:
    """Cautions about the report, most serious first.

    Args:
        facts: the run's.
        calibration: the one in force.
        persons: how many there are in the report.
        corrected: faces to which people gave labels.
        counted: those of them that the report counts with these labels.
    """
    summary = facts.summary
    found = [*_ending(facts), *_trust(calibration)]
    if summary.dropped:
        found.append(
            Notice(
                f"{plural(summary.dropped, 'frame')} dropped",
                "A live source was faster than the analysis; what happened in those frames is not in this report.",
            )
        )
    if summary.decode_failures:
        found.append(
            Notice(
                f"{plural(summary.decode_failures, 'undecodable packet')} skipped",
                "Parts of the source are damaged; what they showed is not in this report.",
            )
        )
    if corrected:
        found.append(
            Notice(
                f"{plural(corrected, 'face')} labelled by people",
                "Their labels stand in place of the estimates, and are marked in the charts."
                if counted
                else "This report leaves their labels out and shows the estimates.",
                serious=False,
            )
        )
    found.extend(Notice("Note", _sentence(note), serious=False) for note in summary.notes)
    if persons == 0:
        found.append(
            Notice(
                "Nobody was followed" if summary.faces else "No faces were found",
                "Faces were seen too briefly for any of them to be followed as a person."
                if summary.faces
                else "This is a valid result: no person with a detectable face appears in the frames analysed.",
                serious=False,
            )
        )
    return found


def _ending(facts: RunFacts) -> list[Notice]:
    """Cautions about a run that is not complete."""
    match facts.status:
        case "complete":
            return []
        case "failed":
            text = f"{_sentence(facts.summary.error)} What had been analysed before that is shown."
            return [Notice("The run failed", text)]
        case "interrupted":
            return [Notice("The run was interrupted", "Only the part that had been analysed before that is shown.")]
        case "running":
            return [Notice("The run has not ended", "What had been stored when this report was made is shown.")]
    return [Notice("The run was cut off", "Its program ended without finishing it; what it had stored is shown.")]


def _trust(calibration: Calibration) -> list[Notice]:
    """Cautions about probabilities that are no frequencies."""
    if not calibration.recorded:
        text = "The run does not say how its probabilities were made; read them as an order, not as frequencies."
        return [Notice("The calibration is not recorded", text)]
    if not calibration.trusted:
        text = (
            "Its probabilities were never compared with labelled images: read them as an order, not as frequencies, "
            "and do not compare them with those of another classifier."
        )
        return [Notice("The classifier is not calibrated", text)]
    return []


def cards(facts: RunFacts, persons: int, uncertain: float | None) -> list[Card]:
    """The run in four numbers."""
    summary = facts.summary
    return [
        Card(
            count(persons),
            "person followed" if persons == 1 else "persons followed",
            "somebody who leaves and comes back may count twice",
        ),
        Card(count(summary.faces), "faces analysed", f"in {plural(summary.frames, 'frame')}"),
        Card(duration(summary.video_s), "of video", f"{facts.info.width} × {facts.info.height} px"),
        Card(
            "–" if uncertain is None else percent(uncertain),
            "uncertain",
            "share of the time with a face in which no expression was likely enough",
        ),
    ]


def calibration_rows(calibration: Calibration, uncertain: float | None) -> list[tuple[str, str]]:
    """Facts about the calibration, as name and value.

    Args:
        calibration: the one in force.
        uncertain: share of the time in which no expression was likely enough; None: nobody was seen.
    """
    measured = calibration.reliability
    ece = f"{percent(measured.ece, 1)}, as measured with this classifier" if measured else "not measured"
    return [
        ("Calibration", calibration.state),
        *calibration.rows,
        ("Expected calibration error", ece if calibration.recorded else "not recorded"),
        (
            "Uncertain in this run",
            "nobody was seen" if uncertain is None else f"{percent(uncertain)} of the time with a face",
        ),
    ]


def source_rows(facts: RunFacts, calibration: Calibration, cuts: int = 0) -> list[tuple[str, str]]:
    """Facts about source and analysis, as name and value. Folders are left out: reports are handed on."""
    info, summary = facts.info, facts.summary
    picture = f"{info.width} × {info.height} px"
    if info.rotation:
        picture += f", turned {info.rotation}° to be upright"
    if info.fps:
        picture += f", {info.fps:.4g} frames per second on average"
    rows = [
        ("Source", facts.source_name),
        *((name.capitalize(), getattr(facts.recording, name)) for name in STATED),
        ("Purpose", facts.purpose or "not stated"),
        ("Consent", facts.consent or "not stated"),
        ("Allowed as", _OVERRIDES.get(facts.privacy_override, "")),
        ("Kept", _kept(facts)),
        ("Image", picture),
        ("Analysed", f"{plural(summary.frames, 'frame')}, {duration(summary.video_s)} of video"),
        ("Shots", f"{cuts + 1}, {plural(cuts, 'cut')} between them" if cuts else ""),
        ("Frames dropped", count(summary.dropped)),
        ("Not decodable, skipped", count(summary.decode_failures)),
        ("Run", f"{facts.id}, {facts.status}"),
        ("Started", f"{facts.started_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("Labels recomputed", f"{facts.rescored_at:%Y-%m-%d %H:%M:%S} UTC" if facts.rescored_at else ""),
        ("Detector", facts.detector),
        ("Classifier", facts.classifier),
        ("Calibration", calibration.state),
        ("Settings, digest", facts.config_digest),
        ("fertrack", facts.fertrack_version),
    ]
    return [(name, value) for name, value in rows if value]


_OVERRIDES = {
    "medical": "for a medical reason (exception of EU AI Act, Art. 5(1)(f))",
    "safety": "for a safety reason (exception of EU AI Act, Art. 5(1)(f))",
}


def _kept(facts: RunFacts) -> str:
    if facts.retention_days is None:
        return ""
    last_day = (facts.ended_at or facts.started_at) + dt.timedelta(days=facts.retention_days)
    return f"until {last_day:%Y-%m-%d}, then deleted by fertrack privacy purge"


def _against(value: float, own: float) -> str:
    if value == own:
        return f"{value:.4g}"
    return f"{value:.4g} (set for this run; the classifier's own is {own:.4g})"


def _sentence(text: str) -> str:
    text = text.strip()
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) or not text else text + "."


_WAITING = ("latency", "age")
"""Rows of a live run's timings that are no work, and so have no share in it."""
_WINDOWS = 60
"""Windows the video is cut into, at most."""

_MIN_WINDOWS = 3
"""A line of fewer points says nothing over time."""


@dataclass(frozen=True, slots=True, eq=False)
class Speed:
    """The times of a run.

    Attributes:
        stages: time per stage, with its share of the sum of all stages.
        table: as from ``storage.timing.speed_over_time``.
        rows: the same as records; empty where the video is too short for a line.
        window_s: length of a window, seconds.
        first_s: time of the first frame, seconds; 0 without frames.
        sentence: speed, losses and queue of the whole run.
    """

    stages: list[dict[str, Any]]
    table: pd.DataFrame
    rows: list[dict[str, Any]]
    window_s: float
    first_s: float
    sentence: str


def read_speed(run: StoredRun) -> Speed:
    """The times of a run."""
    video_s = run.facts.summary.video_s
    window_s = float(max(1, -int(-video_s // _WINDOWS)))
    table = speed_over_time(run, window_s=window_s)
    rows = table.to_dict("records") if len(table) >= _MIN_WINDOWS else []
    return Speed(
        stages=_stages(stage_timings(run)),
        table=table,
        rows=[{str(name): value for name, value in row.items()} for row in rows],
        window_s=window_s,
        first_s=float(table["time_s"].iloc[0]) if len(table) else 0.0,
        sentence=_speed_sentence(table.attrs),
    )


def _stages(timings: pd.DataFrame) -> list[dict[str, Any]]:
    total_s = float(timings["total_s"][~timings["stage"].isin(_WAITING)].sum())
    rows: list[dict[str, Any]] = [
        {str(name): value for name, value in row.items()} for row in timings.to_dict("records")
    ]
    return [
        row | {"share": row["total_s"] / total_s if total_s > 0 and row["stage"] not in _WAITING else 0.0}
        for row in rows
    ]


def _speed_sentence(facts: dict[Any, Any]) -> str:
    """The whole run in a sentence; what is not known is left out."""
    speed, depth = facts["mean_fps"], facts["queue_depth"]
    parts = [f"{speed:.1f} frames a second over the whole run"] if speed == speed else []  # noqa: PLR0124  # NaN
    parts.append(f"{plural(facts['dropped'], 'frame')} dropped")
    if depth:
        parts.append(f"frames that were read and waited: {depth['p50']:g} at the median, {depth['max']:g} at most")
    return "; ".join(parts) + "."
