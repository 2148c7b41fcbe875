"""Everything of a run that the window changes or writes, as jobs on an open database: labels, reports, exports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fertrack.config import Settings, digest, load_settings, to_toml
from fertrack.expression.calibration import Calibrator
from fertrack.gui.desktop.run_view import RunView, Segment, ShownPerson
from fertrack.storage.engine import Database, open_database
from fertrack.storage.people.corrections import GivenLabel, corrections, store_corrections
from fertrack.storage.rescore import original_config, rescore
from fertrack.storage.stored_run import StoredRun
from fertrack.types import LABELS, UNCERTAIN, label_name

__all__ = [
    "LabelSettings",
    "Labelled",
    "label_stretch",
    "next_uncertain",
    "on_database",
    "rescore_run",
    "restore_labels",
    "segment_at",
    "write_file",
]


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """Settings from which labels are made; see ``fertrack.expression.config``. None: the classifier's own."""

    half_life_s: float
    hysteresis_margin: float
    temperature: float | None
    prior_strength: float | None
    use_thresholds: bool

    @classmethod
    def of(cls, settings: Settings) -> LabelSettings:
        """Those in force."""
        smoothing, calibration = settings.smoothing, settings.calibration
        return cls(
            smoothing.half_life_s if smoothing.enabled else 0.0,
            smoothing.hysteresis_margin,
            calibration.temperature,
            calibration.prior_strength,
            calibration.use_thresholds,
        )

    def over(self, settings: Settings) -> dict[str, object]:
        """Sections of the settings with these in place of theirs."""
        smoothing = {"half_life_s": self.half_life_s, "hysteresis_margin": self.hysteresis_margin}
        calibration = {
            "temperature": self.temperature,
            "prior_strength": self.prior_strength,
            "use_thresholds": self.use_thresholds,
        }
        return {
            "smoothing": settings.smoothing.model_copy(update=smoothing),
            "calibration": settings.calibration.model_copy(update=calibration),
        }


@dataclass(frozen=True, slots=True)
class Labelled:
    """A stretch was labelled: the sentence, and the run's labels as they were, to take it back."""

    sentence: str
    before: tuple[GivenLabel, ...]


def on_database(url: str, action: Callable[[Database], str]) -> Callable[[], str]:
    """The action as a job that opens the database for itself."""

    def run() -> str:
        with open_database(url) as database:
            return action(database)

    return run


def segment_at(person: ShownPerson, time_s: float) -> Segment | None:
    """The stretch of one label in which a person is seen at a time."""
    return next((each for each in person.segments if each.start_s <= time_s < each.end_s), None)


def next_uncertain(person: ShownPerson, time_s: float) -> Segment | None:
    """The first uncertain stretch that begins after a time; after the last one, the first of all."""
    uncertain = [each for each in person.segments if each.label == UNCERTAIN]
    return next((each for each in uncertain if each.start_s > time_s + 1e-6), uncertain[0] if uncertain else None)


def label_stretch(url: str, run: RunView, person: ShownPerson, stretch: Segment, label: int) -> Labelled:
    """Store a label for all of a stretch, as ``fertrack import-labels`` does, beside the run's other corrections."""
    given = [
        GivenLabel(row=0, label=label, track=track, from_s=stretch.start_s, to_s=stretch.end_s)
        for track in person.tracks
    ]
    with open_database(url) as database:
        with database.run(run.number) as stored:
            before = tuple(_stored_labels(stored))
        report = store_corrections(database, run.number, given, author="desktop", add=True)
    what = f"{person.name} is labelled {label_name(label)} from {stretch.start_s:.2f} to {stretch.end_s:.2f} s"
    return Labelled(f"{what}: {report.faces} faces", before)


def restore_labels(url: str, run: RunView, before: tuple[GivenLabel, ...]) -> str:
    """Store the labels that the run had before."""
    with open_database(url) as database:
        store_corrections(database, run.number, before, clear=True)
    return "the last label was taken back"


def rescore_run(url: str, run: int, chosen: LabelSettings | None) -> str:
    """Recompute the labels of a run, as ``fertrack rescore`` does; None: with the settings it was made with.

    Raises:
        FertrackError: the run cannot be rescored.
    """
    with open_database(url) as database:
        with database.run(run) as stored:
            facts, original = stored.facts, original_config(stored)
        if chosen is None:
            settings = load_settings(base=original)
        else:
            settings = load_settings(base=facts.config_toml)
            settings = settings.model_copy(update=chosen.over(settings))
        calibrator = Calibrator(settings.calibration, facts.own_calibration)
        done = rescore(
            database, run, calibrator, settings.smoothing, config_toml=to_toml(settings), config_digest=digest(settings)
        )
    return f"{done.labels_changed} of {done.faces} labels changed"


def write_file(url: str, run: int, path: Path, kind: str) -> str:
    """Write the report ("html"), the video ("video", "anonymised"), or an export in one of its formats.

    Returns:
        A sentence that names what was written.

    Raises:
        FertrackError: it could not be written.
    """
    with open_database(url) as database:
        if kind == "html":
            from fertrack.reporting.html.run_page import write_html

            return f"the report was written: {write_html(database, run, path, overwrite=True)}"
        if kind in ("video", "anonymised"):
            from fertrack.render import render_run

            result = render_run(database, run, path, overwrite=True, anonymise=kind == "anonymised")
            return "; ".join((f"the video was written: {result.path}, {result.frames} frames", *result.notes))
        from fertrack.reporting.exports.registry import export_run

        paths = export_run(database, run, kind, path, overwrite=True)
        return "exported: " + ", ".join(map(str, paths))


def _stored_labels(stored: StoredRun) -> list[GivenLabel]:
    table = corrections(stored)
    labels = [UNCERTAIN if name == LABELS[UNCERTAIN] else LABELS.index(name) for name in table["corrected"]]
    return [
        GivenLabel(row=0, label=label, frame_index=int(frame), face_index=int(face), author=str(author))
        for label, frame, face, author in zip(
            labels, table["frame_index"], table["face_index"], table["author"], strict=True
        )
    ]
