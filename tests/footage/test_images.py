"""Images as phones and browsers write them: tiles, rotation, several images in a file, GIF times, mixed folders."""

from __future__ import annotations

import builtins
import logging
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from fertrack.errors import FertrackError, MissingExtraError
from fertrack.sources import ImageFolderSource, expand_inputs, open_source
from fertrack.types import Image
from tests.support.heif_tiles import write_tiled
from tests.support.video_factory import make_video, picture

SIZE = (192, 128)  # three tiles by two


def read(path: Path) -> tuple[list[Image], list[float], list[str]]:
    with open_source(path) as source:
        frames = list(source)
    return [frame.image for frame in frames], [frame.timestamp_s for frame in frames], source.notes


def scene() -> Image:
    return np.ascontiguousarray(cv2.GaussianBlur(picture(341, SIZE), (0, 0), 1.5))


# ---------------------------------------------------------------- HEIC and AVIF of tiles


@pytest.mark.parametrize(("name", "codec"), [("photo.heic", "hevc"), ("photo.avif", "av1"), ("renamed.jpg", "hevc")])
@pytest.mark.parametrize("turns", [0, 1, 3])
def test_an_image_of_tiles_is_read_whole_and_upright(tmp_path: Path, name: str, codec: str, turns: int) -> None:
    if codec == "hevc":
        pytest.importorskip("pillow_heif", reason="HEIC needs the extra heif")
    stored = np.ascontiguousarray(np.rot90(scene(), -turns))
    (image,), times, notes = read(write_tiled(tmp_path / name, stored, codec=codec, quarter_turns=turns))
    assert image.shape == scene().shape
    assert np.abs(image.astype(int) - scene()).mean() < 4
    assert (times, notes) == ([0.0], [])


def without_heif(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def fails(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pillow_heif"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fails)


def test_without_the_extra_a_heic_image_is_refused_and_in_a_folder_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = write_tiled(tmp_path / "b.heic", scene())
    cv2.imwrite(str(tmp_path / "a.png"), scene())
    without_heif(monkeypatch)
    with pytest.raises(MissingExtraError, match=r"b\.heic is a HEIC image, which needs pillow-heif: pip install"):
        read(photo)
    images, _, notes = read(tmp_path)
    assert len(images) == 1
    assert any("b.heic is a HEIC image" in note for note in notes)


def test_a_damaged_heic_image_is_refused_in_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif", reason="HEIC needs the extra heif")
    photo = write_tiled(tmp_path / "photo.heic", scene())
    photo.write_bytes(photo.read_bytes()[:600])
    with pytest.raises(FertrackError, match="none of 1 images can be read"):
        read(photo)


# ---------------------------------------------------------------- several images in one file


def numbered(count: int) -> list[Pillow.Image]:
    return [Pillow.fromarray(np.ascontiguousarray(picture(i, (128, 96))[:, :, ::-1])) for i in range(count)]


def level_of(image: Image) -> int:
    from tests.support.video_factory import number_of

    return number_of(image)


@pytest.mark.parametrize("name", ["moving.webp", "moving.png", "moving.avif"])
def test_all_images_of_an_animation_are_read_with_their_times(tmp_path: Path, name: str) -> None:
    first, *others = numbered(4)
    first.save(tmp_path / name, save_all=True, append_images=others, duration=[100, 250, 10, 300], lossless=True)
    images, times, notes = read(tmp_path / name)
    assert [level_of(image) for image in images] == [0, 1, 2, 3]
    assert times == pytest.approx([0.0, 0.1, 0.35, 0.45])  # 10 ms last 100 ms
    assert notes == []
    source = open_source(tmp_path / name)
    assert source.info.end_s == pytest.approx(0.75)
    source.close()


def test_all_pages_of_a_tiff_are_read_like_images_of_a_folder(tmp_path: Path) -> None:
    first, *others = numbered(3)
    first.save(tmp_path / "pages.tif", save_all=True, append_images=others)
    images, times, _ = read(tmp_path / "pages.tif")
    assert [level_of(image) for image in images] == [0, 1, 2]
    assert times == [0.0, 1.0, 2.0]


def test_in_a_folder_the_first_of_several_is_read_and_said(tmp_path: Path) -> None:
    first, *others = numbered(3)
    first.save(tmp_path / "pages.tif", save_all=True, append_images=others)
    first.save(tmp_path / "still.png")
    images, _, notes = read(tmp_path)
    assert len(images) == 2
    assert notes == [f"{tmp_path.name}: only the first image is read of each of these: pages.tif"]


# ---------------------------------------------------------------- GIF


def gif(path: Path, delays: list[int]) -> Path:
    """A GIF whose pictures have these delays, hundredths of a second."""
    first, *others = numbered(len(delays))
    first.save(path, save_all=True, append_images=others, duration=[50] * len(delays))
    content, at = bytearray(path.read_bytes()), 0
    for delay in delays:
        at = content.index(b"\x21\xf9\x04", at)
        content[at + 4 : at + 6] = struct.pack("<H", delay)
        at += 8
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("delays", "starts"),
    [
        ([0] * 4, [0.0, 0.1, 0.2, 0.3]),
        ([1] * 4, [0.0, 0.1, 0.2, 0.3]),
        ([2] * 4, [0.0, 0.02, 0.04, 0.06]),
        ([1, 5, 0, 7], [0.0, 0.1, 0.15, 0.25]),
        ([10] * 4, [0.0, 0.1, 0.2, 0.3]),
    ],
)
def test_gif_pictures_last_as_long_as_in_browsers(tmp_path: Path, delays: list[int], starts: list[float]) -> None:
    path = gif(tmp_path / "a.gif", delays)
    images, times, notes = read(path)
    assert [level_of(image) for image in images] == [0, 1, 2, 3]
    assert times == pytest.approx(starts)
    assert notes == []
    with open_source(path) as source:
        last = delays[-1] if delays[-1] > 1 else 10
        assert source.info.duration_s == pytest.approx(starts[-1] + last / 100)
        assert source.info.end_s == pytest.approx(starts[-1] + last / 100)


# ---------------------------------------------------------------- folders and patterns


def test_a_folder_with_a_video_and_its_cover_means_the_video(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clip = make_video(tmp_path / "clip.mp4", n=2)
    cv2.imwrite(str(tmp_path / "cover.jpg"), scene())
    with caplog.at_level(logging.WARNING):
        assert expand_inputs([str(tmp_path)]) == [clip]
    assert "its videos are analysed; left out: cover.jpg" in caplog.text
    assert expand_inputs([f"{tmp_path.parent}/{tmp_path.name[:-1]}?"]) == [clip]


def test_patterns_take_heic_and_avif_and_name_what_they_leave_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.heic", "b.avif", "c.HEIF", "notes.txt", "list.csv"):
        (tmp_path / name).write_bytes(b"x")
    with caplog.at_level(logging.WARNING):
        assert [path.name for path in expand_inputs([f"{tmp_path}/*"])] == ["a.heic", "b.avif", "c.HEIF"]
    assert "left out as neither videos nor images: list.csv, notes.txt" in caplog.text


def test_a_folder_names_what_it_leaves_out(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), scene())
    for i in range(7):
        (tmp_path / f"{i}.txt").write_text("x")
    with ImageFolderSource(tmp_path) as source:
        assert len(list(source)) == 1
    assert source.notes == [f"{tmp_path.name}: left out as no images: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 2 more"]
