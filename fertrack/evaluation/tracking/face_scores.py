"""Scores of face tracking on composed scenes, as a table and in the file of quality figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fertrack.errors import ReportError, reason_of
from fertrack.evaluation.tracking.scores import TOGETHER

__all__ = ["FaceScores", "SceneScores", "to_markdown", "write_quality"]

_EXPLAINED = """\
Made by `fertrack evaluate faces CLIPS --write reports/quality.json`. Heads cut from real clips are moved
on scripted paths over a background (`fertrack/evaluation/tracking/scene_scripts.py`), so identities are known for
certain. Each scene is processed end to end. A face of which less than half can be seen counts neither way. *Found*:
how many persons fertrack says there are; *after linking*: with tracks joined to persons. Scores by TrackEval, at an
overlap (IoU) of 0.5, HOTA averaged over 0.05 to 0.95."""


@dataclass(frozen=True, slots=True)
class FaceScores:
    """Identity scores of one scene, or of all of them.

    Attributes:
        idf1: share of faces that carry the right identity.
        hota: mean of detection and association quality.
        mota: 1 - (missed + false + switches) / true faces.
        switches: how often the ID on a person changed.
        fragmentations: how often a person's track was interrupted.
        missed: true faces without a box.
        false: boxes without a true face.
        found: how many persons fertrack said there were.
    """

    idf1: float
    hota: float
    mota: float
    switches: int
    fragmentations: int
    missed: int
    false: int
    found: int


@dataclass(frozen=True, slots=True)
class SceneScores:
    """Scores and facts of one scene.

    Attributes:
        scene: its name, or ``TOGETHER``.
        shows: what happens in it.
        people: how many persons are in it.
        meets_px: height of the smaller face where faces cross, px; 0 if none do.
        tracks: with the tracks' own IDs.
        persons: after re-linking; None where it is not available or switched off.
        cuts: frames with which a new shot begins.
        cuts_found: frames at which fertrack saw one.
        linked_by: fingerprint of what faces were compared by; empty without re-linking.
    """

    scene: str
    shows: str
    people: int
    meets_px: float
    tracks: FaceScores
    persons: FaceScores | None
    cuts: tuple[int, ...] = ()
    cuts_found: tuple[int, ...] = ()
    linked_by: str = ""

    @property
    def best(self) -> FaceScores:
        """Scores after re-identification where there was one."""
        return self.persons or self.tracks


def write_quality(scores: Sequence[SceneScores], path: Path) -> None:
    """Write scores into the file of quality figures, and as ``face_tracking.md`` beside it.

    Args:
        scores: as from ``evaluate_faces``.
        path: JSON file; its "face_tracking" is replaced, what else is in it stays.

    Raises:
        ReportError: one of the files cannot be read or written.
    """
    shown = [f"- **{row.scene}**: {row.shows}" for row in scores if row.scene != TOGETHER]
    page = "\n".join(["# Face tracking on composed scenes", "", _EXPLAINED, "", to_markdown(scores), *shown, ""])
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        content["face_tracking"] = {row.scene: _plain(row) for row in scores}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        path.with_name("face_tracking.md").write_text(page, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ReportError(f"{path} cannot be written: {reason_of(error)}") from error


def to_markdown(scores: Sequence[SceneScores]) -> str:
    """Scores as a table for people."""
    lines = [
        "| scene | people | found | after linking | IDF1 | after linking | HOTA | after linking "
        "| switches | after linking | cuts: true / found |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in scores:
        before, after = row.tracks, row.persons
        cells = [row.scene, row.people, before.found, after.found if after else "-"]
        cells += [f"{before.idf1:.3f}", f"{after.idf1:.3f}" if after else "-"]
        cells += [f"{before.hota:.3f}", f"{after.hota:.3f}" if after else "-"]
        cells += [
            before.switches,
            after.switches if after else "-",
            f"{len(row.cuts)} / {len(row.cuts_found)}" if row.scene != TOGETHER else "",
        ]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _plain(row: SceneScores) -> dict[str, Any]:
    rounded = {
        name: {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(part).items()}
        for name, part in (("tracks", row.tracks), ("persons", row.persons))
        if part is not None
    }
    return {
        "shows": row.shows,
        "people": row.people,
        "meets_px": row.meets_px,
        **rounded,
        "cuts": list(row.cuts),
        "cuts_found": list(row.cuts_found),
        **({"linked_by": row.linked_by} if row.persons else {}),
    }
