"""Agreement with the codings in files: the one question, and which of the answers is wanted."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from fertrack.errors import LabelsError
from fertrack.evaluation.agreement.by_events import event_agreement
from fertrack.evaluation.agreement.by_intensity import intensity_agreement
from fertrack.evaluation.agreement.by_time import time_agreement
from fertrack.imports.coding import CodedSegment, read_coding
from fertrack.storage.config import LONGEST_GAP_S, SHORTEST_EPISODE_S
from fertrack.storage.stored_run import StoredRun

__all__ = ["AgreementOptions", "agreement", "read_codings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementOptions:
    """Wishes of one question about agreement.

    Attributes:
        of: what is compared: labels in time, onsets of events, or intensities.
        who: only this person; see ``Subjects.find``.
        uncoded: label of time that a coder left empty; None: it is not compared.
        block_s: blocks of time that intervals are drawn from, seconds.
        tolerance_s: furthest apart that two onsets of one event may be, seconds.
        min_duration_s: shortest episode of the estimates, seconds.
        max_gap_s: longest gap within one, seconds.
        scale: the highest intensity of the coders' scale; the highest that was given if None.
    """

    of: Literal["time", "events", "intensity"] = "time"
    who: str | None = None
    uncoded: str | None = None
    block_s: float = 10.0
    tolerance_s: float = 0.5
    min_duration_s: float = SHORTEST_EPISODE_S
    max_gap_s: float = LONGEST_GAP_S
    scale: float | None = None


def agreement(run: StoredRun, codings: Sequence[CodedSegment], options: AgreementOptions) -> pd.DataFrame:
    """The answer of ``time_agreement``, ``event_agreement`` or ``intensity_agreement``.

    Raises:
        LabelsError: a coder is called like the estimates, or the codings have no intensities.
        RunNotFoundError: there is nobody of that name.
        ValueError: a length that is not above 0, or no such label.
    """
    if options.of == "events":
        return event_agreement(
            run,
            codings,
            who=options.who,
            tolerance_s=options.tolerance_s,
            min_duration_s=options.min_duration_s,
            max_gap_s=options.max_gap_s,
        )
    if options.of == "intensity":
        return intensity_agreement(run, codings, who=options.who, scale=options.scale, block_s=options.block_s)
    return time_agreement(run, codings, who=options.who, uncoded=options.uncoded, block_s=options.block_s)


def read_codings(
    run: StoredRun, paths: Sequence[Path], *, tier: str = "", people: Mapping[str, str] | None = None
) -> list[CodedSegment]:
    """The codings of several files; those of one coder in several files are put together.

    Raises:
        LabelsError: nobody of the run is meant, or one coder says two things at once.
        TableError: a file cannot be read.
    """
    found: list[CodedSegment] = []
    for path in paths:
        found += read_coding(run, path, tier=tier, people=people)
    for first, second in itertools.pairwise(sorted(found, key=lambda s: (s.subject, s.coder, s.start_s))):
        same = (first.subject, first.coder) == (second.subject, second.coder)
        if same and second.start_s < first.end_s - 1e-3:
            raise LabelsError(
                f"{first.coder!r} says two things of {run.subjects.label[first.subject]} at {second.start_s:.2f} s: if "
                "two files are of two coders, give the files different names"
            )
    return found
