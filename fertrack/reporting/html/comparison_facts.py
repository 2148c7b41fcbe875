"""In what several runs differ, and what that forbids to conclude."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fertrack.reporting.config import ReportConfig
from fertrack.reporting.html.persons import ReportedPerson, load_persons, uncertain_share
from fertrack.reporting.html.run_facts import Calibration, Notice, read_calibration
from fertrack.reporting.html.wording import count, duration, percent
from fertrack.storage.recordings import STATED

if TYPE_CHECKING:
    from fertrack.storage.facts import RunFacts
    from fertrack.storage.stored_run import StoredRun

__all__ = ["FactRow", "RunSide", "different_settings", "fact_rows", "read_side", "warnings"]

_SHORT_S = 10.0
"""Shares of less time than this are named as uncertain ground."""

_RATES_APART = 1.25
"""Frame rates further apart than by this factor are named."""

_DECIDING = frozenset(
    {"input", "detection", "alignment", "classification", "shots", "tracking", "calibration", "smoothing", "linking"}
)
"""Sections of the settings that decide who is seen and what is estimated."""


@dataclass(frozen=True, slots=True, eq=False)
class RunSide:
    """One of the runs that are compared.

    Attributes:
        run: its number.
        facts: what is stored about it.
        persons: everybody in it.
        calibration: in force.
        uncertain: share of the time seen without a certain estimate; None if nobody was seen.
        settings: by "section.key".
    """

    run: int
    facts: RunFacts
    persons: list[ReportedPerson]
    calibration: Calibration
    uncertain: float | None
    settings: dict[str, str]


@dataclass(frozen=True, slots=True)
class FactRow:
    """One fact of every run, as text; ``differs`` where they are not all the same."""

    name: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether the runs differ in it."""
        return len(set(self.values)) > 1


def read_side(run: StoredRun, config: ReportConfig) -> RunSide:
    """Read one run."""
    facts = run.facts
    persons, _ = load_persons(run, config)
    return RunSide(
        run=run.number,
        facts=facts,
        persons=persons,
        calibration=read_calibration(facts.calibration),
        uncertain=uncertain_share(persons),
        settings=_flat(facts.config_toml),
    )


_FACTS: tuple[tuple[str, Callable[[RunSide], str]], ...] = (
    ("Source", lambda side: side.facts.source_name),
    ("State", lambda side: side.facts.status),
    ("Started, UTC", lambda side: f"{side.facts.started_at:%Y-%m-%d %H:%M}"),
    ("Purpose", lambda side: side.facts.purpose or "not stated"),
    ("Consent", lambda side: side.facts.consent or "not stated"),
    ("Image", lambda side: f"{side.facts.info.width} × {side.facts.info.height} px"),
    ("Video analysed", lambda side: duration(side.facts.summary.video_s)),
    ("Frames", lambda side: count(side.facts.summary.frames)),
    ("Frames dropped", lambda side: count(side.facts.summary.dropped)),
    ("Faces", lambda side: count(side.facts.summary.faces)),
    ("Persons followed", lambda side: count(len(side.persons))),
    ("Uncertain", lambda side: "–" if side.uncertain is None else f"{percent(side.uncertain)} of the time with a face"),
    ("Detector", lambda side: side.facts.detector),
    ("Classifier", lambda side: side.facts.classifier),
    ("Calibration", lambda side: side.calibration.state),
    ("Temperature", lambda side: _value(side, "Temperature")),
    ("Strength of the prior correction", lambda side: _value(side, "Strength of the prior correction")),
    ("Calibration error, as measured", lambda side: _ece(side.calibration)),
    ("Thresholds", lambda side: ", ".join(f"{row[0]} {row[4]}" for row in side.calibration.table) or "not recorded"),
    ("Target prior", lambda side: ", ".join(f"{row[0]} {row[2]}" for row in side.calibration.table) or "not recorded"),
    ("fertrack", lambda side: side.facts.fertrack_version),
)


def fact_rows(sides: Sequence[RunSide]) -> list[FactRow]:
    """The facts of all runs, one row per fact."""
    rows = [FactRow(name, tuple(read(side) for side in sides)) for name, read in _FACTS]
    stated = [
        FactRow(name.capitalize(), tuple(getattr(side.facts.recording, name) or "not stated" for side in sides))
        for name in STATED
        if any(getattr(side.facts.recording, name) for side in sides)
    ]
    return [rows[0], *stated, *rows[1:]]


def different_settings(sides: Sequence[RunSide]) -> list[FactRow]:
    """The settings in which the runs differ, of those that decide who is seen and what is estimated."""
    names = list(dict.fromkeys(name for side in sides for name in side.settings))
    rows = [FactRow(name, tuple(side.settings.get(name, "not set") for side in sides)) for name in names]
    return [row for row in rows if row.differs and row.name.partition(".")[0] in _DECIDING]


def warnings(sides: Sequence[RunSide], *, matched: int) -> list[Notice]:
    """Conclusions that these runs do not support, most serious first; never empty.

    Args:
        sides: the runs.
        matched: how many persons are known to be in more than one of them.
    """
    found = [*_about_estimates(sides), *_about_material(sides)]
    if not matched:
        found.append(
            Notice(
                "No person is matched",
                "No name and no link says that somebody is in more than one of these runs: P1 of one run need not be "
                "P1 of another. The command 'fertrack person rename' gives names.",
                serious=False,
            )
        )
    if not any(notice.serious for notice in found):
        same = Notice(
            "Made alike",
            "Same classifier, detector, calibration and settings: what differs is what was filmed. No interval is "
            "known for these shares, so ignore differences of a few points.",
            serious=False,
        )
        found.insert(0, same)
    return found


def _about_estimates(sides: Sequence[RunSide]) -> list[Notice]:
    """Differences after which a share does not mean the same any more."""
    found = []
    if _differ(sides, lambda side: side.facts.classifier):
        found.append(
            Notice(
                "Not comparable: different classifiers",
                "Two networks do not see the same in one image: a difference between these runs can be theirs alone.",
            )
        )
    if not all(side.calibration.trusted for side in sides):
        runs = [side.run for side in sides if not side.calibration.trusted]
        found.append(
            Notice(
                "Not comparable: not all runs are calibrated",
                f"The probabilities of {_runs(runs)} were never compared with labelled images, so their thresholds "
                "mean something else.",
            )
        )
    elif _differ(sides, _calibration_key):
        found.append(
            Notice(
                "Not comparable: different calibration",
                "Temperature, priors, biases or thresholds differ, and they alone move shares and the time that is "
                "uncertain. The command 'fertrack rescore' gives all runs the same.",
            )
        )
    if _differ(sides, lambda side: _section(side, "smoothing")):
        found.append(
            Notice(
                "Not comparable: different smoothing",
                "Smoothing decides how short an expression may be to be seen at all, and how often labels change.",
            )
        )
    if _differ(sides, lambda side: side.facts.detector) or _differ(sides, lambda side: _section(side, "detection")):
        found.append(
            Notice(
                "Different face detection",
                "A detector that finds small or turned faces adds time in which estimates are less certain.",
            )
        )
    return found


def _about_material(sides: Sequence[RunSide]) -> list[Notice]:
    """Differences of what was filmed and of how much of it was seen."""
    found = []
    broken = [side.run for side in sides if side.facts.status != "complete"]
    if broken:
        found.append(Notice("Not all runs are complete", f"Of {_runs(broken)} only a part was analysed."))
    lossy = [side.run for side in sides if side.facts.summary.dropped or side.facts.summary.decode_failures]
    if lossy:
        found.append(Notice("Frames are missing", f"Frames of {_runs(lossy)} were dropped or could not be decoded."))
    rates = [side.facts.summary.frames / side.facts.summary.video_s for side in sides if side.facts.summary.video_s > 0]
    if rates and max(rates) > _RATES_APART * min(rates):
        found.append(
            Notice(
                "Different frame rates",
                f"From {min(rates):.3g} to {max(rates):.3g} frames a second were analysed: with fewer, short "
                "expressions are missed and smoothing has less to go by.",
            )
        )
    short = [side.run for side in sides if 0 < sum(person.visible_s for person in side.persons) < _SHORT_S]
    if short:
        found.append(
            Notice(
                "Little to go by",
                f"{_runs(short).capitalize()} {'shows' if len(short) == 1 else 'show'} faces for less than "
                f"{duration(_SHORT_S)} altogether: shares of so little time say little.",
            )
        )
    if _differ(sides, lambda side: side.facts.source_name) or _differ(sides, lambda side: side.facts.source_path):
        found.append(
            Notice(
                "Different videos",
                "Light, distance and angle change estimates as well: compare like with like.",
                serious=False,
            )
        )
    if _differ(sides, lambda side: side.facts.fertrack_version):
        found.append(Notice("Different versions of fertrack", "Their defaults and methods may differ.", serious=False))
    return found


def _differ(sides: Sequence[RunSide], read: Callable[[RunSide], Any]) -> bool:
    first = read(sides[0])
    return any(read(side) != first for side in sides[1:])


def _calibration_key(side: RunSide) -> tuple[Any, ...]:
    return side.calibration.rows, side.calibration.table


def _section(side: RunSide, name: str) -> dict[str, str]:
    return {key: value for key, value in side.settings.items() if key.startswith(f"{name}.")}


def _value(side: RunSide, name: str) -> str:
    return dict(side.calibration.rows).get(name, "not recorded")


def _ece(calibration: Calibration) -> str:
    return percent(calibration.reliability.ece, 1) if calibration.reliability else "not measured"


def _runs(numbers: Sequence[int]) -> str:
    return f"run {numbers[0]}" if len(numbers) == 1 else f"runs {', '.join(map(str, numbers))}"


def _flat(config_toml: str) -> dict[str, str]:
    """Settings by "section.key", values as text; empty if they cannot be read."""
    try:
        sections = tomllib.loads(config_toml)
    except tomllib.TOMLDecodeError:
        return {}
    return {
        f"{section}.{name}": value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)
        for section, table in sections.items()
        if isinstance(table, dict)
        for name, value in table.items()
    }
