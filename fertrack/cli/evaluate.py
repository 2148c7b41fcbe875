"""``fertrack evaluate``: how good the results are, against ground truth (tracking needs the extra ``eval``)."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fertrack.cli import expression
from fertrack.cli.options import Config, Overrides, settings_from
from fertrack.cli.output import print_json, print_table

if TYPE_CHECKING:
    from fertrack.evaluation.tracking.scores import TrackingScores

__all__ = ["app"]

app = typer.Typer(help="How good the results are, against ground truth.", no_args_is_help=True)
expression.register(app)


@app.command("tracking")
def tracking(
    det: Annotated[
        Path,
        typer.Argument(
            metavar="DET", help="File of tracks or detections, or a folder with <name>.txt or <name>/det/det.txt."
        ),
    ],
    gt: Annotated[
        list[Path] | None,
        typer.Argument(metavar="GT", help="Ground truth: files, sequence folders, or a folder of them; default DET."),
    ] = None,
    run_tracker: Annotated[
        bool, typer.Option("--run-tracker", help="Track again even where DET has IDs already.")
    ] = False,
    config: Config = None,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score tracks in MOTChallenge text against ground truth: MOTA, MOTP, IDF1, HOTA, switches and more.

    Where DET has no IDs (-1 in the second column) it holds detections: fertrack's tracker runs over them first, with
    the [tracking] options given, and its tracks are scored. Needs the extra [eval].

    Examples: fertrack evaluate tracking tracks.txt gt.txt · fertrack evaluate tracking MOT15/train ·
    fertrack evaluate tracking results/ MOT15/train/TUD-Campus MOT15/train/KITTI-17 · fertrack evaluate tracking
    MOT15/train --config plain_sort
    """
    from fertrack.evaluation.tracking.mot import find_sequences
    from fertrack.evaluation.tracking.scores import evaluate

    options = settings_from(config, overrides or []).tracking
    scores = evaluate(find_sequences(det, gt or ()), options, track_again=run_tracker)
    if as_json:
        print_json([asdict(row) for row in scores])
    else:
        _print_scores(scores)


@app.command("faces")
def faces(
    clips: Annotated[Path, typer.Argument(metavar="CLIPS", help="Folder of two or more clips, each of one person.")],
    scene: Annotated[list[str] | None, typer.Option("--scene", help="Only this scene; may be repeated.")] = None,
    work: Annotated[
        Path | None, typer.Option("--work", help="Keep the composed videos and their database in this folder.")
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="JSON", help="Write the figures there, and face_tracking.md beside it."),
    ] = None,
    config: Config = None,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score face tracking end to end on composed scenes with known identities: crossings, returns, cuts and more.

    Heads are cut from real clips and moved on scripted paths, so who is who is certain. Scores are given for tracks
    and, where re-linking is on, for the persons it makes of them. Needs the extra [eval].
    """
    from fertrack.cli.output import err_console
    from fertrack.evaluation.tracking.face_scores import to_markdown, write_quality
    from fertrack.evaluation.tracking.face_tracking import evaluate_faces
    from fertrack.files import make_folder

    if work:
        make_folder(work)
    scores = evaluate_faces(
        clips,
        settings_from(config, overrides or []),
        only=scene or (),
        work=work,
        on_scene=lambda name: err_console().print(f"scene {name}"),
    )
    if write:
        write_quality(scores, write)
    if as_json:
        print_json([asdict(row) for row in scores])
    else:
        sys.stdout.write(to_markdown(scores))


def _print_scores(scores: list[TrackingScores]) -> None:
    columns = {
        "sequence": "sequence",
        "MOTA": "mota",
        "MOTP": "motp",
        "IDF1": "idf1",
        "HOTA": "hota",
        "DetA": "det_a",
        "AssA": "ass_a",
        "switches": "switches",
        "frag.": "fragmentations",
        "mostly tracked": "mostly_tracked",
        "mostly lost": "mostly_lost",
        "people": "people",
        "boxes": "boxes",
        "missed": "missed",
        "false": "false",
    }
    print_table(list(columns), [[getattr(row, field) for field in columns.values()] for row in scores])
