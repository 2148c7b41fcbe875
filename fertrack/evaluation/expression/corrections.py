"""Accuracy of a run's estimates against corrected labels (``fertrack import-labels``).

Faces of one track with one label within one second look alike, so they count as one: they are drawn together for the
intervals, and never parted between what is fitted and what is judged.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from fertrack.config import load_settings
from fertrack.errors import EvaluationError
from fertrack.evaluation.expression.report import Evaluation, prior_rows
from fertrack.evaluation.expression.scores import score_expressions
from fertrack.expression.calibration import Calibrator
from fertrack.expression.config import CalibrationConfig
from fertrack.storage.people.corrections import corrections
from fertrack.storage.stored_run import StoredRun
from fertrack.types import EXPRESSIONS, BoolArray, FloatArray, IntArray

__all__ = ["CorrectedFaces", "calibrator_of", "corrected_faces", "evaluate_corrections"]


@dataclass(frozen=True, slots=True, eq=False)
class CorrectedFaces:
    """Faces of a run that people labelled with an expression. Row i is face i.

    Attributes:
        run: number of the run.
        logits: float32 (N, 7), as the network gave them.
        labels: int64 (N,), what people say.
        estimates: int64 (N,), the stored labels; -1 = uncertain.
        groups: int64 (N,), faces of one track, label and second have the same number.
        undecided: faces that people called uncertain; they are in none of the arrays.
    """

    run: int
    logits: FloatArray
    labels: IntArray
    estimates: IntArray
    groups: IntArray
    undecided: int

    def digest(self) -> str:
        """SHA-256 of logits and labels."""
        return hashlib.sha256(self.logits.tobytes() + self.labels.tobytes()).hexdigest()


def corrected_faces(run: StoredRun) -> CorrectedFaces:
    """The corrections of a run, for evaluation and fitting.

    Raises:
        EvaluationError: nobody has labelled any of its faces with an expression.
    """
    table, number = corrections(run), run.number
    named = (table["corrected"] != "uncertain").to_numpy()
    if not named.any():
        raise EvaluationError(
            f"run {number} has no corrections: export it with `fertrack export {number} --format csv`, fill in the "
            f"column 'corrected', then `fertrack import-labels {number} FILE.csv`"
        )
    rows = table[named]
    labels = _codes(rows["corrected"].astype(str).tolist())
    seconds = np.floor(rows["time_s"].to_numpy(np.float64)).astype(np.int64)
    tracks = rows["track"].to_numpy(np.int64)
    # A face without a track is followed by nobody: its place in the frame stands in.
    who = np.where(tracks >= 0, tracks, -1 - rows["face_index"].to_numpy(np.int64))
    _, groups = np.unique(np.stack([who, labels, seconds], axis=1), axis=0, return_inverse=True)
    return CorrectedFaces(
        run=number,
        logits=rows[[f"logit_{name}" for name in EXPRESSIONS]].to_numpy(np.float32),
        labels=labels,
        estimates=_codes(rows["label"].astype(str).tolist()),
        groups=groups.astype(np.int64).reshape(-1),
        undecided=int((~named).sum()),
    )


def calibrator_of(run: StoredRun, config: CalibrationConfig | None = None) -> Calibrator:
    """A run's calibrator, from what is stored with it.

    Args:
        run: the run.
        config: another configuration; None: the one in force.

    Raises:
        StorageError: the run does not say how it was calibrated.
    """
    facts = run.facts
    config = load_settings(base=facts.config_toml).calibration if config is None else config
    return Calibrator(config, facts.own_calibration)


def evaluate_corrections(run: StoredRun, *, resamples: int = 1000) -> Evaluation:
    """Score a run against its corrections: each face alone, at the calibration in force, and the labels as stored.

    Raises:
        EvaluationError: nobody has labelled any of its faces.
    """
    faces, calibrator = corrected_faces(run), calibrator_of(run)
    scores = score_expressions(
        calibrator.probabilities(faces.logits),
        faces.labels,
        calibrator.thresholds,
        groups=faces.groups,
        resamples=resamples,
    )
    right = faces.estimates == faces.labels
    sure = faces.estimates >= 0
    facts = {
        "data": f"corrections of run {faces.run}, {run.facts.source_name}",
        "SHA-256 of the data": faces.digest(),
        "faces": f"{len(faces.labels)} with an expression, in {faces.groups.max() + 1} moments (track, label, second); "
        f"{faces.undecided} called uncertain",
        "stored labels, smoothed over time": f"{_percent(right)} right, {_percent(~sure)} uncertain, "
        f"{_percent(right[sure])} of those given right",
        "classifier": run.facts.classifier,
        "mind": "people tend to label what looks wrong, so accuracy over all faces of the run may be higher",
    }
    return Evaluation(facts, scores, prior_rows(faces.logits, faces.labels, calibrator), {})


def _codes(names: list[str]) -> IntArray:
    return np.array([EXPRESSIONS.index(name) if name in EXPRESSIONS else -1 for name in names], np.int64)


def _percent(which: BoolArray) -> str:
    return f"{which.mean():.1%}" if len(which) else "none"
