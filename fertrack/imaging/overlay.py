"""Draws what is known of a frame onto it: boxes, IDs or names, expressions. No files, no state.

Sizes follow the frame's short side, so that text reads the same on 360p, on 4K and in portrait.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from fertrack.imaging.debug_panels import DebugOverlay
from fertrack.imaging.label_layout import LabelLayout, Rect
from fertrack.imaging.text import BUILT_IN_FONT, Colour, TextWriter, contrasting, visual_order
from fertrack.imaging.track_labels import NO_NAMES, NO_NUMBERS, label_text, person_bgr
from fertrack.types import UNCONFIRMED, FrameResult, Image

__all__ = ["draw_result", "label_places"]

_UNCERTAIN_FILL: Colour = (70, 70, 70)
_UNCERTAIN_TEXT: Colour = (225, 225, 225)
_SMALLEST_TEXT_PX = 8


@dataclass(frozen=True, slots=True)
class _Row:
    """One face to be drawn."""

    index: int
    track_id: int
    box: Rect
    colour: Colour
    is_uncertain: bool


def draw_result(
    image: Image,
    result: FrameResult,
    *,
    names: Mapping[int, str] = NO_NAMES,
    numbers: Mapping[int, int] = NO_NUMBERS,
    debug: DebugOverlay | None = None,
    font: str = BUILT_IN_FONT,
) -> None:
    """Draw a frame's confirmed faces: a box in the person's colour and a label such as ``P3 happiness 0.82``.

    The number is the smoothed probability of the named expression. A face whose expression is uncertain gets a dashed
    box and a grey label, ``P3 uncertain 0.34``, with the probability of the best expression. Faces of no confirmed
    track are not drawn.

    Args:
        image: uint8 (H, W, 3), BGR, writable: drawn on in place.
        result: what is known of this frame; boxes in px of ``image``.
        names: names to be shown instead of ``ID n``, by track ID; any script that the font has.
        numbers: numbers of persons, by track ID, whose colours are drawn; the ID itself where there is none.
        debug: adds its panels, and takes note of this frame's times.
        font: ``"sans"`` (built in) or the path of a TrueType file.

    Raises:
        TypeError: image is not a uint8 array.
        ValueError: image is not (H, W, 3) or cannot be written to, or the font cannot be loaded.
    """
    _check_canvas(image)
    height, width = image.shape[:2]
    # Panels show faces as they are in the video, so they are made before anything is drawn.
    panels = debug.prepare(image, result, names=names, numbers=numbers, font=font) if debug is not None else None
    rows = _drawable_rows(result, width, height, numbers)
    line_px = max(2, round(min(width, height) / 300))
    for row in rows:
        if row.is_uncertain:
            _dashed_box(image, row.box, row.colour, line_px)
        else:
            left, top, right, bottom = row.box
            cv2.rectangle(image, (left, top), (right - 1, bottom - 1), row.colour, line_px)
    _draw_labels(image, result, rows, names=names, font=font, reserved=panels.rects if panels else ())
    if panels:
        panels.draw(image)


def _check_canvas(image: Image) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(f"image must be uint8 (H, W, 3) in BGR, got {got}")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image must be uint8 (H, W, 3) in BGR, got {image.dtype} {image.shape}")
    if not image.flags.writeable:
        raise ValueError("image must be writable: draw on a copy of the frame")


def _drawable_rows(result: FrameResult, width: int, height: int, numbers: Mapping[int, int] = NO_NUMBERS) -> list[_Row]:
    """The confirmed faces that touch the frame, in the order of their IDs, with boxes cut one px outside it."""
    rows = []
    for index in np.argsort(result.track_ids, kind="stable").tolist():
        track_id, xyxy = int(result.track_ids[index]), result.track_xyxy[index].tolist()
        if track_id == UNCONFIRMED or not all(map(math.isfinite, xyxy)):
            continue
        left, top, right, bottom = (
            round(min(max(value, -1.0), limit + 1.0))
            for value, limit in zip(xyxy, (width, height, width, height), strict=True)
        )
        if right > max(left, 0) and bottom > max(top, 0) and left < width and top < height:
            is_uncertain = bool(result.labels[index] < 0)
            colour = person_bgr(numbers.get(track_id, track_id))
            rows.append(_Row(index, track_id, (left, top, right, bottom), colour, is_uncertain))
    return rows


def _dashed_box(image: Image, box: Rect, colour: Colour, line_px: int) -> None:
    left, top, right, bottom = box[0], box[1], box[2] - 1, box[3] - 1
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], dtype=np.float64)
    dashes: list[np.ndarray] = []
    for start, end in itertools.pairwise(corners):
        length = float(np.abs(end - start).sum())
        # An odd number of equal pieces, every second drawn, so that each corner is drawn.
        pieces = 2 * max(1, round(length / (8 * line_px))) + 1
        stops = start + (end - start) * (np.arange(pieces + 1) / pieces)[:, None]
        dashes += list(stops.round().astype(np.int32).reshape(-1, 2, 2))
    cv2.polylines(image, dashes, False, colour, line_px)


def label_places(
    size: tuple[int, int], result: FrameResult, *, names: Mapping[int, str] = NO_NAMES, font: str = BUILT_IN_FONT
) -> dict[int, Rect]:
    """Where ``draw_result`` puts the labels, by track ID; without debug panels.

    Args:
        size: width and height of the image, px.
        result: what is known of the frame.
        names: names shown instead of ``ID n``, by track ID.
        font: ``"sans"`` (built in) or the path of a TrueType file.
    """
    rows = _drawable_rows(result, *size)
    return {row.track_id: place for row, _, _, place in _placed(size, result, rows, names=names, font=font)}


def _draw_labels(
    image: Image,
    result: FrameResult,
    rows: Sequence[_Row],
    *,
    names: Mapping[int, str],
    font: str,
    reserved: Sequence[Rect],
) -> None:
    size = (image.shape[1], image.shape[0])
    for row, writer, text, place in _placed(size, result, rows, names=names, font=font, reserved=reserved):
        _label(image, writer, text, place, row)


def _placed(
    size: tuple[int, int],
    result: FrameResult,
    rows: Sequence[_Row],
    *,
    names: Mapping[int, str],
    font: str,
    reserved: Sequence[Rect] = (),
) -> Iterator[tuple[_Row, TextWriter, str, Rect]]:
    """Each row's label that has a place: writer, text in visual order, and where it goes."""
    width, height = size
    writer = TextWriter(max(13, round(min(width, height) * 0.028)), font)
    layout = LabelLayout(width, height, reserved)
    boxes = np.array([row.box for row in rows], dtype=np.float64).reshape(-1, 4)
    for i, row in enumerate(rows):
        text = visual_order(label_text(result, row.index, names))
        fitting = _fitting(writer, text, width, font)
        if fitting is None:
            continue
        pad = _label_pad_px(fitting)
        place = layout.place((fitting.width_px(text) + 2 * pad, fitting.line_px + 2 * (pad // 3)), boxes, i)
        if place is not None:
            yield row, fitting, text, place


def _fitting(writer: TextWriter, text: str, width: int, font: str) -> TextWriter | None:
    """The writer, or a smaller one with which the text fits into the frame; None if none is legible."""
    room, needed = width - writer.size_px, writer.width_px(text)
    if needed <= room:
        return writer
    size_px = int(writer.size_px * max(room, 0) / needed)
    return TextWriter(size_px, font) if size_px >= _SMALLEST_TEXT_PX else None


def _label_pad_px(writer: TextWriter) -> int:
    return max(2, writer.size_px // 4)


def _label(image: Image, writer: TextWriter, text: str, place: Rect, row: _Row) -> None:
    left, top, right, bottom = place
    pad = _label_pad_px(writer)
    image[top:bottom, left:right] = _UNCERTAIN_FILL if row.is_uncertain else row.colour
    if row.is_uncertain:  # the person's colour stays visible
        image[top:bottom, left : left + max(2, pad // 2)] = row.colour
    ink = _UNCERTAIN_TEXT if row.is_uncertain else contrasting(row.colour)
    writer.write(image, text, left + pad, top + pad // 3, ink)
