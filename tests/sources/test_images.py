"""Folders of images and single images."""

from __future__ import annotations

import resource
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from fertrack.errors import VideoOpenError
from fertrack.protocols import VideoSource
from fertrack.sources import ImageFolderSource, InputConfig, open_source
from tests.support.video_factory import CORNERS_BGR, corners_of, make_video, number_of, picture


def folder_of(tmp_path: Path, *names: str, size: tuple[int, int] = (128, 96)) -> Path:
    """Folder with one numbered picture per name, in the order given."""
    folder = tmp_path / "stills"
    folder.mkdir()
    for number, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), picture(number, size))
    return folder


def write_jpeg_with_orientation(path: Path, orientation: int, image: np.ndarray) -> None:
    """JPEG whose EXIF block says how it was held."""
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 1) + entry + b"\0\0\0\0"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])


def test_images_come_in_natural_order_one_a_second(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "img1.png", "IMG2.jpg", "img10.bmp", "img11.webp", "img100.tif", "img101.TIFF")
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "sub.png").mkdir()
    source = ImageFolderSource(folder)
    with source:
        frames = list(source)
    assert isinstance(source, VideoSource)
    assert [number_of(frame.image) for frame in frames] == [frame.index for frame in frames] == [0, 1, 2, 3, 4, 5]
    assert [frame.timestamp_s for frame in frames] == [0, 1, 2, 3, 4, 5]
    assert (source.info.name, source.info.width, source.info.height) == ("stills", 128, 96)
    assert (source.info.frame_count, source.info.duration_s, source.info.fps) == (6, 6.0, 1.0)
    assert source.decode_failures == 0
    assert source.notes == ["stills: left out as no images: notes.txt"]
    assert all(frame.read_ms > 0 and frame.image.flags.c_contiguous for frame in frames)


def test_images_per_second_window_and_rate(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, *[f"{i}.png" for i in range(20)])
    config = InputConfig(image_fps=10, from_s=0.5, to_s=1.5, rate_hz=5)
    source = ImageFolderSource(folder, config)
    frames = list(source)
    assert [(f.index, f.timestamp_s) for f in frames] == [(5, 0.5), (7, 0.7), (9, 0.9), (11, 1.1), (13, 1.3)]
    assert [number_of(frame.image) for frame in frames] == [5, 7, 9, 11, 13]
    assert float(source.info.time_base) == 0.1
    with pytest.raises(VideoOpenError, match=r"its last image is shown at 1\.9 s"):
        ImageFolderSource(folder, InputConfig(image_fps=10, from_s=2))


def test_images_left_out_are_not_opened(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "0.png", "1.png", "2.png", "3.png")
    (folder / "1.png").write_bytes(b"broken")
    source = ImageFolderSource(folder, InputConfig(from_s=2))
    assert [frame.index for frame in source] == [2, 3]
    assert source.decode_failures == 0


def test_unreadable_images_are_counted_and_leave_a_gap(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = folder_of(tmp_path, *[f"{i}.png" for i in range(6)])
    (folder / "0.png").write_bytes(b"this is text")
    (folder / "3.png").write_bytes(b"")
    source = ImageFolderSource(folder)
    frames = list(source)
    assert [frame.index for frame in frames] == [1, 2, 4, 5]
    assert [frame.timestamp_s for frame in frames] == [1, 2, 4, 5]
    assert source.decode_failures == 2
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 1


def test_images_of_other_sizes_stay_as_they_are_and_are_counted(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "a.png", "b.png")
    cv2.imwrite(str(folder / "c.png"), picture(2, (200, 50)))
    source = ImageFolderSource(folder)
    assert [frame.image.shape for frame in source] == [(96, 128, 3), (96, 128, 3), (50, 200, 3)]
    assert (source.info.width, source.info.height) == (128, 96)
    assert source.notes == ["stills: 1 of 3 images are not 128x96 like the first"]


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, lambda upright: upright),
        (2, lambda upright: upright[:, ::-1]),
        (3, lambda upright: upright[::-1, ::-1]),
        (6, lambda upright: np.rot90(upright, 1)),
        (8, lambda upright: np.rot90(upright, -1)),
    ],
)
def test_exif_orientation_is_honoured_unless_overridden(tmp_path: Path, orientation: int, stored: object) -> None:
    as_stored = np.ascontiguousarray(stored(picture(5)))
    path = tmp_path / "phone.jpg"
    write_jpeg_with_orientation(path, orientation, as_stored)
    source = ImageFolderSource(path)
    (frame,) = source
    assert frame.image.shape == (96, 128, 3)
    assert number_of(frame.image) == 5
    found = corners_of(frame.image)
    assert all(np.abs(np.subtract(found[k], CORNERS_BGR[k])).max() <= 6 for k in CORNERS_BGR)
    (untouched,) = ImageFolderSource(path, InputConfig(rotate=0))
    assert np.abs(untouched.image.astype(int) - as_stored).mean() < 3
    turned = ImageFolderSource(path, InputConfig(rotate=90))
    (frame,) = turned
    assert turned.info.rotation == 90
    assert (turned.info.width, turned.info.height) == untouched.image.shape[:2]
    assert np.array_equal(frame.image, np.rot90(untouched.image, -1))


def test_grey_transparent_and_16_bit_images_become_bgr_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "kinds"
    folder.mkdir()
    cv2.imwrite(str(folder / "grey.png"), np.full((4, 5), 77, np.uint8))
    cv2.imwrite(str(folder / "see-through.png"), np.full((4, 5, 4), 77, np.uint8))
    cv2.imwrite(str(folder / "deep.png"), np.full((4, 5, 3), 77 * 257, np.uint16))
    images = [frame.image for frame in ImageFolderSource(folder)]
    assert all(image.dtype == np.uint8 and image.shape == (4, 5, 3) for image in images)
    assert [int(image[0, 0, 0]) for image in images] == [77, 77, 77]


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(VideoOpenError, match=r"absent\.png does not exist"):
        ImageFolderSource(tmp_path / "absent.png")
    with pytest.raises(VideoOpenError, match="has no images in it"):
        ImageFolderSource(tmp_path)
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(VideoOpenError, match="none of 1 images can be read"):
        ImageFolderSource(tmp_path / "text.png")


def test_a_folder_that_may_not_be_listed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", forbid)  # the superuser, who may run this, may list everything
    with pytest.raises(VideoOpenError, match=r"cannot be listed \(Permission denied\)"):
        ImageFolderSource(tmp_path)


def test_closing_ends_the_iteration_and_a_source_is_read_once(tmp_path: Path) -> None:
    source = ImageFolderSource(folder_of(tmp_path, "0.png", "1.png"))
    frames = iter(source)
    assert next(frames).index == 0
    source.close()
    assert list(frames) == []
    with pytest.raises(ValueError, match="was read before"):
        iter(source)


@pytest.mark.shared
def test_a_folder_of_real_stills(shared_data: Path) -> None:
    source = ImageFolderSource(shared_data / "image")
    frames = list(source)
    assert len(frames) + source.decode_failures == source.info.frame_count == 33
    assert source.decode_failures == 0


def test_an_immense_image_is_refused_by_its_head(tmp_path: Path) -> None:
    """Such a file of 100 kB would take gigabytes; here the head alone is there, and says enough."""
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(b"")))
    ]
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    with pytest.raises(VideoOpenError, match=r"30000x30000 .* use --set input.max_megapixels=900"):
        ImageFolderSource(tmp_path / "bomb.png")
    cv2.imwrite(str(tmp_path / "fine.png"), np.zeros((8, 8, 3), np.uint8))
    with ImageFolderSource(tmp_path) as folder:
        assert [frame.image.shape for frame in folder] == [(8, 8, 3)]
    assert folder.decode_failures == 1
    assert "30000x30000" in folder.notes[0]


def test_a_video_with_immense_frames_is_refused(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", n=2)
    with pytest.raises(VideoOpenError, match=r"128x96 pixels large, more than input.max_megapixels allows"):
        open_source(path, InputConfig(max_megapixels=0.01))


def test_a_png_whose_chunk_claims_gigabytes_is_no_image(tmp_path: Path) -> None:
    content = bytearray(cv2.imencode(".png", picture(3))[1].tobytes())
    at = content.index(b"IDAT") - 4
    content[at : at + 4] = struct.pack(">I", 2**31 - 16)
    (tmp_path / "a.png").write_bytes(content)
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with pytest.raises(VideoOpenError, match="none of 1 images can be read"):
        ImageFolderSource(tmp_path / "a.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 < before_mb + 500
