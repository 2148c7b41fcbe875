"""Published labelled sets, read as they are: RAF-DB, AffectNet, FER2013, FER+, and our own CSV.

Orders of labels: RAF-DB 1 to 7 = surprise, fear, disgust, happiness, sadness, anger, neutral (Li, Deng and Du, 2017).
AffectNet 0 to 7 = neutral, happiness, sadness, surprise, fear, disgust, anger, contempt; 8 none, 9 uncertain, 10 no
face (Mollahosseini, Hasani and Mahoor, 2017). FER2013 0 to 6 = anger, disgust, fear, happiness, sadness, surprise,
neutral (Goodfellow et al., 2013). FER+ has ten votes an image (Barsoum et al., 2016); the label is the expression with
most of them, by the rules of ``evaluation.ferplus``. AffectNet's lists are read with a header row and without one.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fertrack.errors import EvaluationError
from fertrack.evaluation.datasets.ferplus import select_voted
from fertrack.evaluation.datasets.labelled_set import LabelledSet, expression_index, no_part
from fertrack.types import EXPRESSIONS, FloatArray, IntArray

__all__ = ["is_rafdb", "read_csv", "read_rafdb"]

# "patition" is how RAF-DB's own file is spelt.
_RAFDB_LISTS = tuple(
    f"{folder}list_{word}_label.txt" for word in ("partition", "patition") for folder in ("", "EmoLabel/")
)
_RAFDB_PICTURES = ("aligned", "Image/aligned")

_AFFECTNET_COLUMNS = (
    "subdirectory_filepath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
_AFFECTNET = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")
_FER2013 = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
_FERPLUS_VOTES = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "NF",
)
_FERPLUS_FOLDERS = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
_TEST_PART = "PublicTest"
_FER_SIDE_PX = 48
_OWN_PATHS = ("path", "file")
_SHARE = "share_"


def is_rafdb(folder: Path) -> bool:
    """Whether a folder holds RAF-DB as published."""
    return any((folder / name).is_file() for name in _RAFDB_LISTS)


def read_rafdb(folder: Path, split: str = "") -> LabelledSet:
    """RAF-DB's aligned images; ``split`` "train" or "test" (if empty).

    Raises:
        EvaluationError: the list or an image's name in it cannot be made out, or the images are missing.
    """
    split = split or "test"
    listed = next(folder / name for name in _RAFDB_LISTS if (folder / name).is_file())
    pictures = next((folder / name for name in _RAFDB_PICTURES if (folder / name).is_dir()), None)
    if pictures is None:
        raise EvaluationError(f"{folder} has {listed.name}, but no aligned/ with the images beside it")
    paths, labels, known = [], [], []
    for number, line in enumerate(_text(listed).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or words[1] not in "1234567" or len(words[1]) != 1:
            raise EvaluationError(f"{listed}, line {number}: an image's name and a label from 1 to 7 are expected")
        known.append(words[0].partition("_")[0])
        if words[0].startswith(split):
            name = Path(words[0])
            aligned = pictures / f"{name.stem}_aligned{name.suffix}"
            paths.append(aligned if aligned.is_file() else pictures / name)
            labels.append(int(words[1]) - 1)
    if not paths and known:
        raise no_part(folder, split, known)
    remedy = f"copy it into {pictures} (there as NAME_aligned.jpg or NAME.jpg), or take its line out of the list"
    return _files(folder.name, f"RAF-DB, {split}", paths, labels, listed=listed.name, remedy=remedy)


def read_csv(
    path: Path, split: str = "", pictures: Path | None = None, only: Mapping[str, Collection[str]] | None = None
) -> LabelledSet:
    """Our own CSV, AffectNet's, FER+'s or FER2013's, told apart by their columns.

    ``only`` keeps rows of which the named columns hold one of the values given.

    Raises:
        EvaluationError: it is none of them, or a row cannot be made out.
    """
    rows, first = _numbered_rows(path)
    columns = set(rows[0]) if rows else set()
    rows = _only(path, rows, only or {})
    base = pictures or path.parent
    if columns >= {"subdirectory_filepath", "expression"}:
        if split:
            raise EvaluationError(f"{path}: AffectNet's parts are files of their own: leave --split out")
        return _read_affectnet(path, rows, base, first)
    if columns >= {"usage", "image name", "neutral", "nf"}:
        return _read_ferplus(path, rows, split or _TEST_PART, base)
    if columns >= {"emotion", "pixels"}:
        return _read_fer2013(path, rows, split or _TEST_PART)
    if "label" in columns and columns & set(_OWN_PATHS):
        return _read_own(path, rows, split, base)
    raise EvaluationError(
        f"{path} needs the columns path and label (or those of AffectNet, FER+ or FER2013 as published), "
        + (f"but has {', '.join(sorted(columns))}" if rows else "and rows: it has none")
    )


def _only(path: Path, rows: list[dict[str, str]], only: Mapping[str, Collection[str]]) -> list[dict[str, str]]:
    absent = [column for column in only if rows and column not in rows[0]]
    if absent:
        raise EvaluationError(f"{path} has no column {absent[0]}: its columns are {', '.join(rows[0])}")
    return [row for row in rows if all(row[column].strip() in values for column, values in only.items())]


def _read_own(path: Path, rows: list[dict[str, str]], split: str, base: Path) -> LabelledSet:
    paths, labels, boxes, chosen = [], [], [], []
    left_out: Counter[str] = Counter()
    known = [row.get("split", "").strip() for row in rows]
    if split and split not in known:
        raise no_part(path, split, known)
    for number, row in enumerate(rows, start=2):
        if split and row["split"].strip() != split:
            continue
        label = expression_index(row["label"])
        if label < 0:
            left_out[f"labelled {row['label'].strip() or 'with nothing'}"] += 1
            continue
        name = next((row[column].strip() for column in _OWN_PATHS if row.get(column, "").strip()), "")
        if not name:
            raise EvaluationError(f"{path}, row {number}: the path is empty")
        paths.append(base / name)
        labels.append(label)
        boxes.append(_box(path, number, row, ("x1", "y1", "x2", "y2")))
        chosen.append((number, row))
    found = _files(path.name, "CSV" + (f", {split}" if split else ""), paths, labels, boxes=boxes, left_out=left_out)
    subjects = tuple(row.get("subject", "").strip() for _, row in chosen)
    return replace(found, votes=_shares(path, chosen, labels), subjects=subjects if any(subjects) else ())


def _shares(path: Path, rows: list[tuple[int, dict[str, str]]], labels: list[int]) -> FloatArray:
    """Raters' shares float32 (N, 7) from columns such as ``share_happy``; (0, 7) without such columns.

    A label that raters had no column for, or of whom none answered, stands by itself: shares of other expressions say
    nothing against it.
    """
    columns = {name: expression_index(name.removeprefix(_SHARE)) for name in (rows[0][1] if rows else ())}
    columns = {name: place for name, place in columns.items() if name.startswith(_SHARE) and place >= 0}
    if not columns:
        return np.empty((0, len(EXPRESSIONS)), np.float32)
    votes = np.zeros((len(rows), len(EXPRESSIONS)), np.float64)
    for at, (number, row) in enumerate(rows):
        for name, place in columns.items():
            try:
                votes[at, place] = float(row[name].strip() or 0.0)
            except ValueError as error:
                raise EvaluationError(f"{path}, row {number}: {name} is no number: {row[name]!r}") from error
        if not (np.isfinite(votes[at]).all() and (votes[at] >= 0).all()):
            raise EvaluationError(f"{path}, row {number}: shares must be numbers from 0 on")
        if labels[at] not in columns.values() or not votes[at].any():
            votes[at] = np.eye(len(EXPRESSIONS))[labels[at]]
    return np.asarray(votes / votes.sum(axis=1, keepdims=True), np.float32)


def _read_affectnet(path: Path, rows: list[dict[str, str]], base: Path, first: int) -> LabelledSet:
    paths, labels, boxes = [], [], []
    left_out: Counter[str] = Counter()
    for number, row in enumerate(rows, start=first):
        code = row["expression"].strip()
        if not code.isdigit():
            raise EvaluationError(f"{path}, row {number}: expression {code!r} is no number from 0 to 10")
        if int(code) >= len(_AFFECTNET):
            left_out["contempt, none, uncertain or no face"] += 1
            continue
        paths.append(base / row["subdirectory_filepath"].strip())
        labels.append(EXPRESSIONS.index(_AFFECTNET[int(code)]))
        boxes.append(_box(path, number, row, ("face_x", "face_y", "face_width", "face_height"), sized=True))
    return _files(path.name, "AffectNet", paths, labels, boxes=boxes, left_out=left_out)


def _read_ferplus(path: Path, rows: list[dict[str, str]], split: str, base: Path) -> LabelledSet:
    """Votes; images as files (flat or in FER+'s three folders), or from ``fer2013.csv``, which has the same rows."""
    mine = [number for number, row in enumerate(rows) if row["usage"].strip() == split]
    if not mine:
        raise no_part(path, split, [row["usage"].strip() for row in rows])
    try:
        votes = np.array(
            [[int(rows[number][name.lower()] or 0) for name in _FERPLUS_VOTES] for number in mine], np.int64
        )
    except ValueError as error:
        raise EvaluationError(f"{path}: a vote is no whole number: {error}") from error
    names = [rows[number]["image name"].strip() for number in mine]
    votes[[not name for name in names]] = -1  # rows without a name are those that FER+ took out
    chosen = select_voted(np.arange(len(mine)), votes, list(_FERPLUS_VOTES))
    kept: IntArray = chosen.images.astype(np.int64)
    kind = f"FER+, {split}"
    left_out = {"not on one of the seven, or of too few votes": n} if (n := len(mine) - len(kept)) else {}
    pixels = base / "fer2013.csv"
    folder = next((f for f in (base / _FERPLUS_FOLDERS.get(split, split), base) if _has(f, names, kept)), None)
    if folder is not None:
        found = _files(path.name, kind, [folder / names[row] for row in kept], chosen.labels.tolist())
        return LabelledSet(
            found.name, kind, found.labels, found.paths, votes=chosen.votes, tied=chosen.tied, left_out=left_out
        )
    if pixels.is_file():
        images = _fer_images(pixels, _rows(pixels), [mine[row] for row in kept])
        return LabelledSet(
            path.name, kind, chosen.labels, images=images, votes=chosen.votes, tied=chosen.tied, left_out=left_out
        )
    raise EvaluationError(
        f"{path} names images that are not in {base}: give their folder with --pictures, or put fer2013.csv beside it"
    )


def _has(folder: Path, names: list[str], rows: IntArray) -> bool:
    return bool(len(rows)) and (folder / names[int(rows[0])]).is_file()


def _read_fer2013(path: Path, rows: list[dict[str, str]], split: str) -> LabelledSet:
    mine = [number for number, row in enumerate(rows) if row.get("usage", split).strip() == split]
    if not mine:
        raise no_part(path, split, [row["usage"].strip() for row in rows])
    try:
        codes = [int(rows[number]["emotion"]) for number in mine]
    except ValueError as error:
        raise EvaluationError(f"{path}: an emotion is no number from 0 to 6: {error}") from error
    odd = next((code for code in codes if not 0 <= code < len(_FER2013)), None)
    if odd is not None:
        raise EvaluationError(f"{path}: an emotion is no number from 0 to 6: {odd}")
    labels = np.array([EXPRESSIONS.index(_FER2013[code]) for code in codes], np.int64)
    return LabelledSet(path.name, f"FER2013, {split}", labels, images=_fer_images(path, rows, mine))


def _fer_images(path: Path, rows: list[dict[str, str]], chosen: list[int]) -> npt.NDArray[np.uint8]:
    images = np.empty((len(chosen), _FER_SIDE_PX, _FER_SIDE_PX), np.uint8)
    for place, number in enumerate(chosen):
        try:
            images[place] = np.array(rows[number]["pixels"].split(), np.uint8).reshape(_FER_SIDE_PX, _FER_SIDE_PX)
        except (ValueError, OverflowError, IndexError) as error:
            raise EvaluationError(f"{path}, row {number + 2}: 48 x 48 pixels from 0 to 255 are expected") from error
    return images


def _files(
    name: str,
    kind: str,
    paths: list[Path],
    labels: list[int],
    *,
    boxes: Sequence[tuple[float, ...]] = (),
    left_out: Mapping[str, int] | None = None,
    listed: str = "",
    remedy: str = "check --pictures, or the list",
) -> LabelledSet:
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise EvaluationError(f"{missing} is not there, but {listed or name} lists it: {remedy}")
    xyxy: FloatArray = np.array(boxes, np.float32).reshape(-1, 4)
    return LabelledSet(name, kind, np.array(labels, np.int64), tuple(paths), xyxy=xyxy, left_out=dict(left_out or {}))


def _box(
    path: Path, number: int, row: Mapping[str, str], names: tuple[str, ...], *, sized: bool = False
) -> tuple[float, ...]:
    """The box in a row, xyxy (in the row: corner and size, if ``sized``); four NaN if it gives none."""
    given = [row.get(name, "").strip() for name in names]
    if all(value.upper() in ("", "NULL", "NAN") for value in given):
        return (math.nan,) * 4
    try:
        left, top, right, bottom = (float(value) for value in given)
    except ValueError as error:
        raise EvaluationError(f"{path}, row {number}: {', '.join(names)} must be four numbers: {error}") from error
    if sized:
        right, bottom = left + right, top + bottom
    if not (right > left and bottom > top and all(map(math.isfinite, (left, top, right, bottom)))):
        raise EvaluationError(f"{path}, row {number}: {', '.join(names)} give no box: {', '.join(given)}")
    return left, top, right, bottom


def _rows(path: Path) -> list[dict[str, str]]:
    return _numbered_rows(path)[0]


def _numbered_rows(path: Path) -> tuple[list[dict[str, str]], int]:
    """The rows by column, and the number of the first in the file: 1 if it has no header row."""
    text = _text(path)
    top = text.partition("\n")[0]
    bare = _is_affectnet_row(top)
    separator = "," if bare else max(",;\t", key=top.count)
    names = _AFFECTNET_COLUMNS if bare else None
    csv.field_size_limit(1 << 24)  # FER2013's pixels stand in one field
    try:
        rows = list(_filled(csv.DictReader(text.splitlines(), names, delimiter=separator, strict=True)))
    except csv.Error as error:
        raise EvaluationError(f"{path} cannot be read as CSV: {error}") from error
    return rows, 1 if bare else 2


def _is_affectnet_row(line: str) -> bool:
    """Whether a line is an image of AffectNet rather than a header: nine columns, a file's name and a label's number.

    The landmarks in it are parted by semicolons, so that these say nothing about what parts the columns.
    """
    fields = [field.strip() for field in line.split(",")]
    return (
        len(fields) == len(_AFFECTNET_COLUMNS)
        and bool(Path(fields[0].strip('"')).suffix)
        and fields[_AFFECTNET_COLUMNS.index("expression")].isdigit()
    )


def _filled(reader: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    for row in reader:
        yield {
            (name or "").strip().lower(): value or "" for name, value in row.items() if isinstance(value, str | None)
        }


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise EvaluationError(f"{path} cannot be read: {reason}") from error
