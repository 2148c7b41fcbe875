"""Panels that show what the program saw: times, and per person the aligned face, its geometry and all probabilities."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import cv2
import numpy as np

from fertrack.imaging.alignment import align_with_landmarks
from fertrack.imaging.geometry import eye_distance_px, eye_line_angle_deg, eye_mouth_distance_px
from fertrack.imaging.label_layout import Rect
from fertrack.imaging.text import BUILT_IN_FONT, Colour, TextWriter, contrasting, line_height_px, visual_order
from fertrack.imaging.track_labels import NO_NAMES, NO_NUMBERS, label_text, person_bgr
from fertrack.types import EXPRESSIONS, UNCONFIRMED, FloatArray, FrameResult, Image

__all__ = ["CROP_PX", "DebugOverlay", "DebugPanels"]

CROP_PX = 224
"""Side of the aligned faces that the thumbnails and the ratios refer to, px."""

_TEXT: Colour = (240, 240, 240)
_DIM: Colour = (170, 170, 170)
_TROUGH: Colour = (80, 80, 80)
_YELLOW: Colour = (0, 255, 255)
_BACKGROUND_SHARE = 0.25  # of the image's brightness that shows through a panel

# A card's measures in heights of its letters, and in lines of text.
_CARD_WIDTH = 21.4
_LEFT_COLUMN = 8.0
_NAME_COLUMN = 5.4
_VALUE_COLUMN = 2.5
_SMALLEST_TEXT_PX = 10
_WIDEST_SHARE = 0.45  # of the frame's width that the cards may take


@dataclass(frozen=True, slots=True)
class _Card:
    """Content of one person's card.

    Attributes:
        title: what the label beside the face says, and the track's ID.
        colour: the person's.
        crop: uint8 (224, 224, 3), BGR, the aligned face.
        points: float32 (5, 2), the landmarks in the crop, px.
        measures: three lines: the eye line's angle in the frame, the two ratios in the crop.
        smoothed: float32 (7,).
        probabilities: float32 (7,), this frame alone.
    """

    title: str
    colour: Colour
    crop: Image
    points: FloatArray
    measures: tuple[str, str, str]
    smoothed: FloatArray
    probabilities: FloatArray


@dataclass(slots=True)
class DebugPanels:
    """Debug panels of one frame, made from the untouched image, ready to be drawn over it.

    Attributes:
        rects: where they go; labels keep clear of these.
    """

    header: tuple[str, ...]
    writer: TextWriter
    rects: list[Rect] = field(default_factory=list)
    cards: list[tuple[Rect, _Card]] = field(default_factory=list)
    card_writer: TextWriter | None = None
    more: tuple[str, Rect] | None = None

    def draw(self, image: Image) -> None:
        """Draw them on an image, uint8 (H, W, 3), BGR, writable."""
        _draw_lines(image, self.rects[0], self.header, self.writer)
        if self.card_writer is None:
            return
        for rect, card in self.cards:
            _draw_card(image, rect, card, self.card_writer)
        if self.more:
            _draw_lines(image, self.more[1], (self.more[0],), self.card_writer)


class DebugOverlay:
    """Makes the debug panels of successive frames; remembers their processing times.

    ``t_proc`` is what detecting, aligning, classifying and tracking took for this frame (reading and drawing not
    counted); ``fps_eff`` is 1 / mean of the last ``window`` of them.

    Args:
        window: number of frames that the effective rate is averaged over.
    """

    def __init__(self, window: int = 60) -> None:
        if window < 1:
            raise ValueError(f"window must be at least 1 frame, got {window}")
        self._times_ms: deque[float] = deque(maxlen=window)

    def prepare(
        self,
        image: Image,
        result: FrameResult,
        *,
        names: Mapping[int, str] = NO_NAMES,
        numbers: Mapping[int, int] = NO_NUMBERS,
        font: str = BUILT_IN_FONT,
    ) -> DebugPanels:
        """Take note of a frame's times and lay out its panels. Call once per frame, before it is drawn on.

        Args:
            image: uint8 (H, W, 3), BGR, as it is in the video.
            result: what is known of this frame.
            names: as in ``draw_result``.
            numbers: as in ``draw_result``.
            font: as in ``draw_result``.
        """
        height, width = image.shape[:2]
        short = min(width, height)
        writer = TextWriter(max(12, round(short * 0.025)), font)
        header = self._header(result)
        header_rect = _text_rect(header, writer, width, height)
        panels = DebugPanels(header, writer, [header_rect])
        ids = result.track_ids
        rows = [i for i in np.argsort(ids, kind="stable").tolist() if ids[i] != UNCONFIRMED]
        text_px, slots = _card_slots(width, height, len(rows), header_rect)
        if not rows or not slots:
            return panels
        panels.card_writer = TextWriter(text_px, font)
        if len(slots) < len(rows):
            left, bottom = slots[-1][0], slots[-1][3]
            rest = f"+{len(rows) - len(slots)} more"
            panels.more = (rest, (left, bottom, slots[-1][2], min(height, bottom + round(1.6 * text_px))))
            panels.rects.append(panels.more[1])
        shown = rows[: len(slots)]
        panels.cards = list(zip(slots, _cards(image, result, shown, names, numbers), strict=False))
        panels.rects += [rect for rect, _ in panels.cards]
        return panels

    def _header(self, result: FrameResult) -> tuple[str, str]:
        ms = result.ms
        took_ms = ms.detect + ms.align + ms.classify + result.track_ms
        self._times_ms.append(took_ms)
        mean_ms = sum(self._times_ms) / len(self._times_ms)
        rate = f"{1000.0 / mean_ms:.1f}" if mean_ms > 0 else "-"
        return (
            f"frame_id:{result.frame_index}",
            f"t_proc:{took_ms:.1f}ms  fps_eff:{rate}",
        )


def _cards(
    image: Image, result: FrameResult, rows: Sequence[int], names: Mapping[int, str], numbers: Mapping[int, int]
) -> list[_Card]:
    landmarks = result.faces.detections.landmarks[list(rows)]
    crops, points = align_with_landmarks(image, landmarks, size=CROP_PX)
    angles_deg = eye_line_angle_deg(landmarks)
    eyes, mouths = eye_distance_px(points) / CROP_PX, eye_mouth_distance_px(points) / CROP_PX
    cards = []
    for i, row in enumerate(rows):
        track_id = int(result.track_ids[row])
        cards.append(
            _Card(
                title=visual_order(_title(result, row, names)),
                colour=person_bgr(numbers.get(track_id, track_id)),
                crop=crops[i],
                points=points[i],
                measures=(
                    f"eyes {_number(angles_deg[i], '+.1f')}°",
                    f"eyeR {_number(eyes[i], '.3f')}",
                    f"mouthR {_number(mouths[i], '.3f')}",
                ),
                smoothed=result.smoothed[row],
                probabilities=result.probabilities[row],
            )
        )
    return cards


def _title(result: FrameResult, row: int, names: Mapping[int, str]) -> str:
    """The label beside the face; with the track's ID where that says a name."""
    text, track = label_text(result, row, names), f"ID {result.track_ids[row]}"
    return text if text.startswith(track) else f"{text} ({track})"


def _number(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else "-"


def _text_rect(lines: Sequence[str], writer: TextWriter, width: int, height: int) -> Rect:
    """Place of a block of text in the top left corner, cut to the frame."""
    pad = writer.size_px // 2
    right = max(writer.width_px(line) for line in lines) + 2 * pad
    return 0, 0, min(width, right), min(height, len(lines) * writer.line_px + pad)


def _card_slots(width: int, height: int, count: int, header: Rect) -> tuple[int, list[Rect]]:
    """Size of the letters and places for up to ``count`` cards, in columns from the right edge, clear of the header.

    The cards shrink a little before any is left out, but never to where they cannot be read. If not all have room, the
    last column ends a line short, for the number of those left out.
    """
    text_px, slots = 0, list[Rect]()
    for share in (0.0222, 0.019, 0.0155):
        text_px = max(_SMALLEST_TEXT_PX, round(min(width, height) * share))
        slots = _slots(width, height, text_px, header)
        if len(slots) >= count:
            return text_px, slots[:count]
    while slots and slots[-1][3] + 1.6 * text_px > height:
        slots.pop()
    return text_px, slots


def _slots(width: int, height: int, text_px: int, header: Rect) -> list[Rect]:
    card_width = round(_CARD_WIDTH * text_px)
    card_height = _card_height(text_px)
    gap = max(2, text_px // 3)
    if card_width > width:
        return []
    columns = max(1, int(width * _WIDEST_SHARE) // (card_width + gap))
    slots = []
    for column in range(columns):
        left = width - (column + 1) * card_width - column * gap
        first = header[3] + gap if header[2] > left else 0
        for top in range(first, height - card_height + 1, card_height + gap):
            slots.append((left, top, left + card_width, top + card_height))
    return slots


def _card_height(text_px: int) -> int:
    line_px = line_height_px(text_px)
    return _title_px(line_px) + len(EXPRESSIONS) * line_px + 2 * (text_px // 2)


def _title_px(line_px: int) -> int:
    return round(1.2 * line_px)


def _darken(image: Image, rect: Rect) -> None:
    left, top, right, bottom = rect
    region = image[top:bottom, left:right]
    if region.size:
        region[:] = cv2.convertScaleAbs(region, alpha=_BACKGROUND_SHARE)


def _draw_lines(image: Image, rect: Rect, lines: Sequence[str], writer: TextWriter) -> None:
    _darken(image, rect)
    pad = writer.size_px // 2
    for i, line in enumerate(lines):
        writer.write(image, line, rect[0] + pad, rect[1] + pad // 2 + i * writer.line_px, _YELLOW)


def _draw_card(image: Image, rect: Rect, card: _Card, writer: TextWriter) -> None:
    left, top, right, _ = rect
    size, line_px = writer.size_px, writer.line_px
    _darken(image, rect)
    pad, title_px = size // 2, _title_px(line_px)
    image[top : top + title_px, left:right] = card.colour
    title = writer.shortened(card.title, right - left - 2 * pad)
    writer.write(image, title, left + pad, top + (title_px - line_px) // 2, contrasting(card.colour))
    body = top + title_px + pad
    thumb_px = 4 * line_px - pad // 2
    _thumbnail(image, card, left + pad, body, thumb_px)
    for i, line in enumerate(card.measures):
        writer.write(image, line, left + pad, body + (4 + i) * line_px, _TEXT)
    _bars(image, card, writer, left=left + pad + round(_LEFT_COLUMN * size), top=body, right=right - pad)


def _thumbnail(image: Image, card: _Card, left: int, top: int, side_px: int) -> None:
    thumb = cast(Image, cv2.resize(card.crop, (side_px, side_px), interpolation=cv2.INTER_AREA))
    scale = side_px / CROP_PX
    radius = max(1, side_px // 40)
    for x, y in card.points:
        if np.isfinite(x) and np.isfinite(y):
            centre = (round(float(x) * scale), round(float(y) * scale))
            cv2.circle(thumb, centre, radius, _YELLOW, cv2.FILLED, cv2.LINE_AA)
    image[top : top + side_px, left : left + side_px] = thumb


def _bars(image: Image, card: _Card, writer: TextWriter, *, left: int, top: int, right: int) -> None:
    """The probability vector: bars of the smoothed values, a tick at this frame's own."""
    size, line_px = writer.size_px, writer.line_px
    bar_left = left + round(_NAME_COLUMN * size)
    bar_right = right - round(_VALUE_COLUMN * size)
    inset = max(1, line_px // 6)
    best = int(np.argmax(card.smoothed))
    ends = [
        (bar_left + np.clip(np.nan_to_num(values), 0.0, 1.0) * (bar_right - bar_left)).round().astype(int).tolist()
        for values in (card.smoothed, card.probabilities)
    ]
    for i, name in enumerate(EXPRESSIONS):
        y = top + i * line_px
        ink = _TEXT if i == best else _DIM
        writer.write(image, name, left, y, ink)
        image[y + inset : y + line_px - inset, bar_left:bar_right] = _TROUGH
        image[y + inset : y + line_px - inset, bar_left : ends[0][i]] = card.colour if i == best else _DIM
        tick = max(bar_left, ends[1][i] - max(1, size // 8))
        image[y + inset : y + line_px - inset, tick : ends[1][i]] = _YELLOW
        writer.write(image, f"{float(card.smoothed[i]):.2f}", bar_right + size // 3, y, ink)
