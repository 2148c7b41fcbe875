"""Embedding distances within and between people: the evidence for the thresholds of ``[linking]``.

From each clip of one person the best faces are taken as in a run. Same person: the first half of them against the
second. Different people: all pairs of clips. People of one clip with several: all pairs of tracks seen in one frame.
Run it with ``python -m fertrack.benchmarks reid_distances FOLDER CLIP...``; it prints a table.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fertrack.build import build_pipeline
from fertrack.config import load_settings
from fertrack.embedders import build_embedder
from fertrack.errors import EvaluationError
from fertrack.pipeline.pipeline import Pipeline
from fertrack.protocols import Embedder
from fertrack.reid.linker import mean_embedding
from fertrack.reid.tracklets import Tracklet, seen_together
from fertrack.sinks.reid import ReidSink
from fertrack.sources import InputConfig, open_source
from fertrack.types import FloatArray, Image

__all__ = ["Resemblance", "best_faces", "compare", "main"]

_RATE_HZ = 10.0


@dataclass(frozen=True, slots=True)
class Resemblance:
    """Similarities, 1 minus distance, each with what was compared.

    Attributes:
        same: one person, first faces against last faces.
        different: people of different clips.
        side_by_side: people seen in one frame.
        ms_per_face: time to embed one face, milliseconds.
    """

    same: dict[str, float] = field(default_factory=dict)
    different: dict[tuple[str, str], float] = field(default_factory=dict)
    side_by_side: dict[str, list[float]] = field(default_factory=dict)
    ms_per_face: float = 0.0


def best_faces(path: Path, pipeline: Pipeline, embedder: Embedder, faces_per_track: int) -> list[Tracklet]:
    """The tracks of a clip with the embeddings of their best faces.

    Raises:
        EvaluationError: the clip is not there.
    """
    if not path.is_file():
        raise EvaluationError(f"{path} is not there: give the folder that holds the clips")
    config = load_settings([], [f"linking.faces_per_track={faces_per_track}"]).linking
    sink = ReidSink(embedder, config, embed_all=True)
    pipeline.run(open_source(path, InputConfig(rate_hz=_RATE_HZ)), [sink])
    return sink.tracklets


def compare(folder: Path, clips: Sequence[str], *, faces_per_track: int = 5) -> Resemblance:
    """Compare the people of some clips.

    Args:
        folder: where the clips are.
        clips: their names; a clip in which exactly one track has usable faces is taken for one person, and two clips
            whose names are joined by ``=`` for the same one (only the first is compared with others).
        faces_per_track: as in ``[linking]``.

    Raises:
        EvaluationError: a clip is not there.
    """
    pipeline, embedder = build_pipeline(load_settings()), _Stopwatch(build_embedder(recognise=True))
    found = Resemblance()
    centres: dict[str, FloatArray] = {}
    for entry in clips:
        name, *again = entry.split("=")
        usable = [t for t in best_faces(folder / name, pipeline, embedder, faces_per_track) if len(t.embeddings)]
        if len(usable) == 1:
            faces = usable[0].embeddings
            if len(faces) > 1:
                half = len(faces) // 2
                found.same[name] = _similarity(faces[:half], faces[half:])
            centres[name] = faces
            for other in again:
                (track,) = (t for t in best_faces(folder / other, pipeline, embedder, faces_per_track))
                found.same[f"{name} = {other}"] = _similarity(faces, track.embeddings)
        else:
            together = np.argwhere(np.triu(seen_together([t.spans for t in usable])))
            found.side_by_side[name] = [
                _similarity(usable[i].embeddings, usable[j].embeddings) for i, j in together.tolist()
            ]
    for one, other in itertools.combinations(centres, 2):
        found.different[one, other] = _similarity(centres[one], centres[other])
    return Resemblance(found.same, found.different, found.side_by_side, embedder.ms_per_face)


def main(arguments: Sequence[str]) -> int:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(
        prog="python -m fertrack.benchmarks reid_distances", description=__doc__.splitlines()[0]
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("clips", nargs="+", metavar="CLIP")
    given = parser.parse_args(arguments)
    found = compare(given.folder, given.clips)
    lines = ["| compared | pairs | lowest | median | highest |", "|---|---|---|---|---|"]
    sets = {"one person": [*found.same.values()], "different clips": [*found.different.values()]}
    sets |= {f"side by side in {name}": values for name, values in found.side_by_side.items()}
    for what, values in sets.items():
        v = np.array(values)
        if len(v):
            lines.append(f"| {what} | {len(v)} | {v.min():.3f} | {np.median(v):.3f} | {v.max():.3f} |")
    lines += ["", f"{found.ms_per_face:.0f} ms per face.", "", "Closest pairs of different people:", ""]
    closest = sorted(found.different.items(), key=lambda item: -item[1])[:5]
    lines += [f"- {one} and {other}: {value:.3f}" for (one, other), value in closest]
    lines += ["", "One person, least alike:", ""]
    lines += [f"- {name}: {value:.3f}" for name, value in sorted(found.same.items(), key=lambda item: item[1])[:5]]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _similarity(one: FloatArray, other: FloatArray) -> float:
    return 1.0 - float(np.linalg.norm(mean_embedding(one) - mean_embedding(other)))


class _Stopwatch:
    """An embedder that knows how long it takes."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.crop_size, self.template = embedder.crop_size, embedder.template
        self.fingerprint, self.recognises = embedder.fingerprint, embedder.recognises
        self._faces, self._s = 0, 0.0

    def embed(self, crops: Image) -> FloatArray:
        """See ``Embedder``."""
        started = time.process_time()
        vectors = self._embedder.embed(crops)
        self._s += time.process_time() - started
        self._faces += len(crops)
        return vectors

    @property
    def ms_per_face(self) -> float:
        """CPU time per face so far, milliseconds."""
        return 1e3 * self._s / max(self._faces, 1)
