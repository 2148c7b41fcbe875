"""Drawing: labels, colours, layout, writer of other scripts, and the debug panels."""

from __future__ import annotations

import itertools
import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fertrack.imaging.alignment import DEFAULT_TEMPLATE, align_faces
from fertrack.imaging.debug_panels import DebugOverlay
from fertrack.imaging.label_layout import LabelLayout
from fertrack.imaging.overlay import draw_result
from fertrack.imaging.text import TextWriter, contrasting, is_usable_font, printable, visual_order
from fertrack.imaging.track_labels import label_text, person_bgr
from fertrack.types import EXPRESSIONS, AnalysisMs, Detections, Faces, FrameResult, Image

HAPPINESS = EXPRESSIONS.index("happiness")


def make_result(
    boxes: list[tuple[float, float, float, float]],
    *,
    ids: list[int] | None = None,
    labels: list[int] | None = None,
    smoothed: np.ndarray | None = None,
    landmarks: np.ndarray | None = None,
    detect_ms: float = 20.0,
    frame_index: int = 7,
) -> FrameResult:
    n = len(boxes)
    xyxy = np.array(boxes, np.float32).reshape(n, 4)
    if landmarks is None:
        sides = (xyxy[:, 2:] - xyxy[:, :2])[:, None, :]
        landmarks = xyxy[:, None, :2] + DEFAULT_TEMPLATE / 224 * sides
    if smoothed is None:
        smoothed = np.tile(np.float32([0.02, 0.02, 0.02, 0.82, 0.04, 0.04, 0.04]), (n, 1))
    ids_array = np.array(ids if ids is not None else range(1, n + 1), np.int64)
    return FrameResult(
        frame_index=frame_index,
        timestamp_s=frame_index / 25,
        faces=Faces(
            Detections(xyxy, np.ones(n, np.float32), landmarks.astype(np.float32)),
            np.zeros((n, 7), np.float32),
        ),
        track_ids=ids_array,
        track_xyxy=xyxy,
        probabilities=smoothed.astype(np.float32),
        smoothed=smoothed.astype(np.float32),
        labels=np.array(labels if labels is not None else [HAPPINESS] * n, np.int64),
        ms=AnalysisMs(detect=detect_ms),
    )


def grey(width: int = 640, height: int = 360) -> Image:
    return np.full((height, width, 3), 100, np.uint8)


def text_found(image: Image, text: str, writer: TextWriter, colour: tuple, background: tuple) -> float:
    """How well the rendered text matches somewhere in the picture: 1 = pixel for pixel."""
    patch = np.full((writer.line_px, writer.width_px(text), 3), background, np.uint8)
    writer.write(patch, text, 0, 0, colour)
    inner = patch[:, 2:-2]
    return float(cv2.matchTemplate(image, inner, cv2.TM_CCOEFF_NORMED).max())


# ---- boxes and labels ----


def test_label_says_id_expression_and_smoothed_probability() -> None:
    result = make_result([(200, 120, 300, 240)], ids=[3])
    assert label_text(result, 0) == "ID 3 happiness 0.82"
    image = grey()
    draw_result(image, result)
    colour = person_bgr(3)
    assert text_found(image, "ID 3 happiness 0.82", TextWriter(13), contrasting(colour), colour) > 0.99


def test_name_replaces_the_id() -> None:
    result = make_result([(200, 120, 300, 240)], ids=[3])
    assert label_text(result, 0, {3: "Ирина"}) == "Ирина happiness 0.82"
    assert label_text(result, 0, {3: " \n\u202e"}) == "ID 3 happiness 0.82"
    image = grey()
    draw_result(image, result, names={3: "Ирина"})
    colour = person_bgr(3)
    assert text_found(image, "Ирина happiness 0.82", TextWriter(13), contrasting(colour), colour) > 0.99


def test_uncertain_is_drawn_differently() -> None:
    smoothed = np.float32([[0.34, 0.2, 0.1, 0.1, 0.1, 0.1, 0.06]])
    certain = make_result([(200, 120, 300, 240)], ids=[3], labels=[0], smoothed=smoothed)
    uncertain = make_result([(200, 120, 300, 240)], ids=[3], labels=[-1], smoothed=smoothed)
    assert label_text(uncertain, 0) == "ID 3 uncertain 0.34"
    shares = []
    for result in (certain, uncertain):
        image = grey()
        draw_result(image, result)
        right_edge = image[125:235, 299]
        shares.append(float((right_edge == person_bgr(3)).all(axis=1).mean()))
    assert shares[0] == 1.0
    assert 0.3 < shares[1] < 0.8
    label = image[95:120, 210:300].reshape(-1, 3)
    assert not (label == person_bgr(3)).all(axis=1).any()  # grey, not the track's colour


def test_unconfirmed_faces_are_not_drawn() -> None:
    image = grey()
    draw_result(image, make_result([(200, 120, 300, 240)], ids=[-1], labels=[-1]))
    assert (image == 100).all()


def test_box_is_where_the_track_is_and_in_its_colour() -> None:
    image = grey()
    draw_result(image, make_result([(200, 120, 300, 240)], ids=[5]))
    assert tuple(image[239, 250]) == person_bgr(5)
    assert tuple(image[180, 200]) == person_bgr(5)
    assert (image[130:230, 210:290] == 100).all()
    assert (image[250:] == 100).all()


@pytest.mark.parametrize("box", [(np.nan, 0, 10, 10), (-1e30, 5, 1e30, 9), (500, 500, 600, 600), (50, 50, 50, 50)])
def test_boxes_that_are_not_in_the_frame_do_no_harm(box: tuple[float, float, float, float]) -> None:
    draw_result(grey(), make_result([box]))


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (40, 40), (200, 8), (7680, 4320)])
def test_any_frame_size_is_drawn_on(size: tuple[int, int]) -> None:
    width, height = size
    image = grey(width, height)
    draw_result(image, make_result([(0, 0, width, height)]), debug=DebugOverlay())


def test_misuse_is_refused() -> None:
    result = make_result([])
    read_only = grey()
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="copy of the frame"):
        draw_result(read_only, result)
    with pytest.raises(TypeError, match="float64"):
        draw_result(np.zeros((4, 4, 3)), result)  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(ValueError, match=r"\(4, 4\)"):
        draw_result(np.zeros((4, 4), np.uint8), result)
    with pytest.raises(ValueError, match="font"):
        draw_result(grey(), result, font="/no/such.ttf")


def test_text_grows_with_the_frame() -> None:
    heights = []
    for width, height in ((640, 360), (1280, 720), (3840, 2160), (720, 1280)):
        image = grey(width, height)
        box = (0.4 * width, 0.4 * height, 0.6 * width, 0.6 * height)
        draw_result(image, make_result([box]))
        above = image[: round(0.4 * height) - 1, round(0.41 * width)]
        heights.append(int((above != 100).any(axis=1).sum()))
    assert heights[0] >= 13  # readable on 360p
    assert heights[2] == pytest.approx(6 * heights[0], rel=0.4)
    assert heights[3] == heights[1]  # portrait as landscape


def test_drawing_is_fast_enough_for_the_encoder_thread() -> None:
    image = grey(1280, 720)
    result = make_result([(100, 100, 250, 300), (400, 100, 550, 300), (700, 100, 850, 300)])
    draw_result(image, result)
    times = []
    for _ in range(10):
        started = time.thread_time()
        draw_result(image, result)
        times.append(time.thread_time() - started)
    assert min(times) < 0.006  # 0.7 ms on an idle machine


# ---- colours ----


def test_colours_of_neighbouring_ids_differ_and_text_on_them_can_be_read() -> None:
    colours = [np.array(person_bgr(i), float) for i in range(1, 200)]
    for a, b in itertools.combinations(colours[:7], 2):
        assert np.abs(a - b).max() > 50
    for colour in colours:
        ink = contrasting(tuple(int(c) for c in colour))
        assert contrast(ink, colour) >= 4.5


def contrast(a, b) -> float:
    """WCAG 2 contrast ratio of two BGR colours."""
    levels = []
    for colour in (a, b):
        c = np.asarray(colour, float)[::-1] / 255
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        levels.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)
    return max(levels) / min(levels)


# ---- layout ----

boxes_in_frame = st.lists(
    st.tuples(st.floats(-50, 600), st.floats(-50, 340), st.floats(5, 200), st.floats(5, 200)).map(
        lambda b: (round(b[0]), round(b[1]), round(b[0] + b[2]), round(b[1] + b[3]))
    ),
    min_size=1,
    max_size=12,
)


@given(boxes_in_frame)
@settings(max_examples=50, deadline=None)
def test_labels_stay_inside_the_frame(boxes: list[tuple[int, int, int, int]]) -> None:
    layout = LabelLayout(640, 360)
    array = np.array(boxes, float)
    for row in range(len(boxes)):
        place = layout.place((140, 20), array, row)
        assert place is not None
        assert place[0] >= 0
        assert place[1] >= 0
        assert place[2] <= 640
        assert place[3] <= 360
        assert (place[2] - place[0], place[3] - place[1]) == (140, 20)


def test_labels_do_not_cover_each_other_when_there_is_room() -> None:
    boxes = np.array([(300, 150, 360, 220), (305, 152, 365, 222), (310, 150, 370, 225), (360, 150, 420, 220)], float)
    layout = LabelLayout(640, 360)
    places = [layout.place((150, 20), boxes, row) for row in range(4)]
    for a, b in itertools.combinations(places, 2):
        assert a is not None
        assert b is not None
        assert min(a[2], b[2]) <= max(a[0], b[0]) or min(a[3], b[3]) <= max(a[1], b[1])


def test_usual_place_is_above_the_box_and_below_at_the_upper_edge() -> None:
    boxes = np.array([(200, 100, 300, 200), (400, 3, 500, 80)], float)
    layout = LabelLayout(640, 360)
    assert layout.place((150, 20), boxes, 0) == (200, 80, 350, 100)
    assert layout.place((150, 20), boxes, 1) == (400, 80, 550, 100)


def test_labels_keep_clear_of_panels_and_go_with_a_hidden_box() -> None:
    panel = (400, 0, 640, 360)
    boxes = np.array([(330, 100, 390, 200), (450, 100, 550, 200)], float)
    layout = LabelLayout(640, 360, [panel])
    place = layout.place((150, 20), boxes, 0)
    assert place is not None
    assert place[2] <= 400
    assert layout.place((150, 20), boxes, 1) is None


# ---- writer ----


@pytest.mark.parametrize(
    ("logical", "visual"),
    [
        ("ID 3 happiness 0.82", "ID 3 happiness 0.82"),
        ("שלום happiness 0.82", "םולש happiness 0.82"),
        ("שלום כהן", "ןהכ םולש"),
        ("מרחבא 123", "אבחרמ 123"),
        ("דוד 12 לוי", "יול 12 דוד"),
        ("דוד (לוי)", "(יול) דוד"),
        ("Anna לוי Maria", "Anna יול Maria"),
        ("שָׁלוֹם", "םולש"),
    ],
)
def test_right_to_left_names_are_put_into_visual_order(logical: str, visual: str) -> None:
    assert visual_order(logical) == visual


def test_names_are_made_printable() -> None:
    assert printable("  Anna\n\u202eMaria\x00 ") == "Anna Maria"
    assert printable("\ud800") == ""  # a lone surrogate would crash OpenCV
    assert printable("x" * 50) == "x" * 31 + "…"
    draw_result(grey(), make_result([(200, 120, 300, 240)], ids=[1]), names={1: "\ud800Ли\udfff"})


@pytest.mark.parametrize("name", ["Łukasz", "Ирина", "Ελένη", "张伟", "さくら", "김철수", "דוד", "محمد"])
def test_scripts_of_the_built_in_font_have_letters(name: str) -> None:
    writer = TextWriter(32)

    def drawn(text: str) -> Image:
        image = np.zeros((60, 300, 3), np.uint8)
        writer.write(image, text, 5, 5, (255, 255, 255))
        return image

    assert drawn(name).any()
    assert (drawn(name) != drawn("?" * len(name))).any()


def test_long_lines_are_neither_wrapped_nor_crash() -> None:
    writer = TextWriter(20)
    image = np.zeros((100, 80, 3), np.uint8)
    writer.write(image, "a long line of text", 10, 0, (255, 255, 255))
    assert image[:30].any()
    assert not image[30:].any()
    short = writer.shortened("a long line of text", 80)
    assert short.endswith("…")
    assert writer.width_px(short) <= 80
    assert writer.shortened("abc", 1) == ""


def test_a_font_file_can_be_used(tmp_path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    font = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSerif.ttf"
    assert is_usable_font(font)
    assert TextWriter(30, font).width_px("Wide") != TextWriter(30).width_px("Wide")
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    assert not is_usable_font(str(broken))
    assert not is_usable_font(str(tmp_path))


# ---- debug panels ----


def test_debug_header_tells_frame_times_and_rate_of_the_last_sixty() -> None:
    overlay = DebugOverlay()
    for i in range(60):
        overlay.prepare(grey(), make_result([], detect_ms=1000.0, frame_index=i))
    for i in range(60):
        panels = overlay.prepare(grey(), make_result([], detect_ms=40.0, frame_index=60 + i))
    assert panels.header == ("frame_id:119", "t_proc:40.0ms  fps_eff:25.0")
    panels = overlay.prepare(grey(), make_result([], detect_ms=100.0, frame_index=120))
    assert panels.header[1] == "t_proc:100.0ms  fps_eff:24.4"  # 60 / (59 * 0.04 + 0.1)
    with pytest.raises(ValueError, match="window"):
        DebugOverlay(0)


def test_debug_card_shows_the_untouched_aligned_face_and_its_measures() -> None:
    rng = np.random.default_rng(1)
    image = cv2.resize(rng.integers(0, 255, (45, 80, 3), np.uint8), (1280, 720))
    turned = np.float32(
        [cv2.transform(DEFAULT_TEMPLATE[None], cv2.getRotationMatrix2D((112, 112), -10, 0.5))[0] + (200, 200)]
    )
    result = make_result([(150, 150, 300, 300)], landmarks=turned)
    untouched = image.copy()
    panels = DebugOverlay().prepare(image, result)
    ((_, card),) = panels.cards
    assert (card.crop == align_faces(untouched, turned)[0]).all()
    assert card.measures == ("eyes +10.0°", "eyeR 0.375", "mouthR 0.304")
    assert card.title == "ID 1 happiness 0.82"
    draw_result(image, result, debug=DebugOverlay())
    assert np.abs(card.points - DEFAULT_TEMPLATE).max() < 0.01
    writer = panels.card_writer
    assert writer is not None
    for text in ("surprise", "neutral", "eyeR 0.375"):
        assert text_found_in_panel(image, text, writer) > 0.6


def text_found_in_panel(image: Image, text: str, writer: TextWriter) -> float:
    patch = np.zeros((writer.line_px, writer.width_px(text), 3), np.uint8)
    writer.write(patch, text, 0, 0, (255, 255, 255))
    bright = (image.min(axis=2) > 130).astype(np.uint8) * 255
    return float(cv2.matchTemplate(bright, (patch[:, :, 0] > 130).astype(np.uint8) * 255, cv2.TM_CCOEFF_NORMED).max())


def test_debug_bars_are_as_long_as_the_probabilities() -> None:
    smoothed = np.float32([[0.5, 0.25, 0.0, 0.25, 0.0, 0.0, 0.0]])
    image = np.zeros((720, 1280, 3), np.uint8)
    overlay = DebugOverlay()
    panels = overlay.prepare(image, make_result([(0, 0, 50, 50)], labels=[0], smoothed=smoothed))
    panels.draw(image)
    ((rect, card),) = panels.cards
    assert panels.card_writer is not None
    line_px = panels.card_writer.line_px
    body = rect[1] + round(1.2 * line_px) + panels.card_writer.size_px // 2
    row = image[body + line_px // 2, rect[0] : rect[2]]
    filled = int((row == card.colour).all(axis=1).sum())
    ticks = int((row == (0, 255, 255)).all(axis=1).sum())
    trough = int((row == 80).all(axis=1).sum())
    assert (filled + ticks) / (filled + ticks + trough) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("size", [(640, 360), (360, 640), (1280, 720), (720, 1280), (3840, 2160), (160, 120), (20, 20)])
@pytest.mark.parametrize("persons", [1, 3, 8, 40])
def test_debug_panels_fit_and_do_not_cover_each_other(size: tuple[int, int], persons: int) -> None:
    width, height = size
    image = grey(width, height)
    boxes = [(0, 0, width / 2, height / 2)] * persons
    result = make_result(boxes)
    panels = DebugOverlay().prepare(image, result)
    assert all(r[0] >= 0 and r[1] >= 0 and r[2] <= width and r[3] <= height for r in panels.rects)
    for a, b in itertools.combinations(panels.rects, 2):
        assert min(a[2], b[2]) <= max(a[0], b[0]) or min(a[3], b[3]) <= max(a[1], b[1])
    if panels.cards and len(panels.cards) < persons:
        assert panels.more is not None
        assert panels.more[0] == f"+{persons - len(panels.cards)} more"
    if min(size) >= 720 and persons <= 8:
        assert len(panels.cards) == persons
    if min(size) >= 360:
        assert len(panels.cards) >= min(persons, 3)
    draw_result(image, result, debug=DebugOverlay())


def test_debug_leaves_out_unconfirmed_faces_and_survives_bad_landmarks() -> None:
    landmarks = np.full((2, 5, 2), np.nan, np.float32)
    result = make_result([(0, 0, 50, 50), (60, 60, 90, 90)], ids=[-1, 4], landmarks=landmarks)
    image = grey()
    panels = DebugOverlay().prepare(image, result)
    ((_, card),) = panels.cards
    assert card.title.startswith("ID 4")
    assert card.measures == ("eyes -°", "eyeR -", "mouthR -")
    panels.draw(image)
