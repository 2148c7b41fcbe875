"""Readers that are given broken input: from what, and how each is read to its end."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fertrack.batch.inputs import batch_inputs
from fertrack.config import Settings, load_settings
from fertrack.errors import FertrackError
from fertrack.evaluation.tracking.mot import read_mot
from fertrack.imports.recognise import read_events
from fertrack.models.bundle import load_bundle
from fertrack.sources import InputConfig, mask_credentials, open_source
from fertrack.sources.stream.credentials import split_credentials
from fertrack.storage.connection import describe, parse_url
from fertrack.storage.engine import open_database
from fertrack.storage.people.persons import links, persons
from fertrack.storage.queries.moments import Condition, moments
from fertrack.storage.queries.statistics import expression_stats, person_episodes
from fertrack.storage.queries.timeline import timeline
from fertrack.storage.runs import runs

__all__ = ["READERS", "Reader", "outcome"]

_MAX_FRAMES = 40
_MAX_WORK_S = 3.0
"""Longest work for one small file, seconds of the processor."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader: ``read`` is given a file of broken content.

    Attributes:
        name: of the reader.
        suffixes: of the whole files it is given, broken.
        read: reads to the end.
        is_text: whether words are put in.
        in_child: whether other people's native code reads, so that a process of its own has to.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Path], object]
    is_text: bool = False
    in_child: bool = False


def outcome(reader: Reader, path: Path) -> str:
    """Outcome of a reading: "read", "refused", or in words what must not be: another error than ours."""
    began_s = time.process_time()
    try:
        reader.read(path)
    except FertrackError as error:
        said = str(error)
        fine = said.strip() and said.isprintable() and len(said) < 3000
        said = "refused" if fine else f"an error that is no sentence: {said[:200]!r}"
    except Exception as error:  # any other error than ours is what is looked for
        return f"{type(error).__name__}: {str(error)[:200]}"
    else:
        said = "read"
    took_s = time.process_time() - began_s
    return said if took_s < _MAX_WORK_S else f"takes {took_s:.1f} s of work"


def _read_frames(path: Path) -> None:
    with open_source(path, InputConfig()) as source:
        for _ in islice(source, _MAX_FRAMES):
            pass


def _read_events(path: Path) -> None:
    read_events(path)


def _read_list(path: Path) -> None:
    batch_inputs([str(path)], Settings())


def _read_bundle(path: Path) -> None:
    """Beside the default network, so that a card that is still whole finds one."""
    folder = path.with_suffix("")
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder / "bundle.toml")
    model = folder / "model.onnx"
    if not model.exists():
        model.symlink_to(load_bundle().model_path)
    load_bundle(folder)


def _read_database(path: Path) -> None:
    with open_database(path) as database:
        runs(database)
        with database.runs("all") as every:
            expression_stats(every)
            person_episodes(every)
            moments(every, Condition("happiness"))
        with database.run(1) as one:
            timeline(one)
            persons(one)
            links(one)


def _read_url(path: Path) -> None:
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    mask_credentials(text)
    repr(split_credentials(text))
    describe(parse_url(text))


READERS = (
    Reader("containers", (".mp4", ".avi", ".mkv", ".ts", ".gif"), _read_frames, in_child=True),
    Reader("images", (".png", ".jpg", ".webp", ".tif", ".bmp"), _read_frames, in_child=True),
    Reader("configurations", (".toml",), lambda path: load_settings([path]), is_text=True),
    Reader("lists", (".csv",), _read_list, is_text=True),
    Reader("markers", (".csv", ".tsv"), _read_events, is_text=True),
    Reader("boxes", (".txt",), read_mot, is_text=True),
    Reader("bundles", (".card",), _read_bundle, is_text=True),
    Reader("databases", (".db",), _read_database),
    Reader("addresses", (".url",), _read_url, is_text=True),
)
