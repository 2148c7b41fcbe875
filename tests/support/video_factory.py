"""Small videos with known content, made on the fly: every picture carries its number and shows which way is up.

``make_video`` writes one, ``picture`` draws what frame i shows, ``number_of`` reads the number back from a decoded
frame, ``CODEC_TOLERANCE`` is how far a flat colour may be off after encoding and decoding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

BgrImage = npt.NDArray[np.uint8]

CODEC_TOLERANCE = 6
"""Largest difference per channel, in levels, in the middle of a flat area (H.264 4:2:0 at the quality used here)."""

CORNERS_BGR = {
    "top left": (40, 40, 200),
    "top right": (40, 180, 40),
    "bottom left": (200, 60, 40),
    "bottom right": (128, 128, 128),
}
_BITS = 10


def picture(number: int, size: tuple[int, int] = (128, 96)) -> BgrImage:
    """Upright picture: a colour in each corner, and in a band across the middle the number as black and white cells."""
    width, height = size
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = CORNERS_BGR["top left"]
    image[: height // 2, width // 2 :] = CORNERS_BGR["top right"]
    image[height // 2 :, : width // 2] = CORNERS_BGR["bottom left"]
    image[height // 2 :, width // 2 :] = CORNERS_BGR["bottom right"]
    for bit in range(_BITS):
        left, right = bit * width // _BITS, (bit + 1) * width // _BITS
        image[height * 3 // 8 : height * 5 // 8, left:right] = 235 if number >> bit & 1 else 20
    return image


def number_of(image: BgrImage) -> int:
    """Number in the band of an upright picture drawn by ``picture``."""
    height, width = image.shape[:2]
    centres = [int((bit + 0.5) * width / _BITS) for bit in range(_BITS)]
    return sum(int(image[height // 2, x].mean() > 128) << bit for bit, x in enumerate(centres))


def corners_of(image: BgrImage) -> dict[str, tuple[int, ...]]:
    """Colour near each corner, by the names of ``CORNERS_BGR``."""
    height, width = image.shape[:2]
    places = {
        "top": height // 8,
        "bottom": height - 1 - height // 8,
        "left": width // 8,
        "right": width - 1 - width // 8,
    }
    return {
        name: tuple(int(v) for v in image[places[name.split()[0]], places[name.split()[1]]]) for name in CORNERS_BGR
    }


def make_video(
    path: Path,
    n: int = 30,
    fps: Fraction | int = 30,
    size: tuple[int, int] = (128, 96),
    *,
    rotation: int | None = None,
    vfr_pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    audio: bool = False,
    audio_s: float | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    container: str | None = None,
    gop: int = 12,
    b_frames: int = 2,
    options: dict[str, str] | None = None,
    colour: tuple[int, int] | None = None,
    faststart: bool = False,
    clock_start_s: int = 0,
    draw: Callable[[int, tuple[int, int]], BgrImage] = picture,
    setup: Callable[[av.VideoStream], None] | None = None,
) -> Path:
    """Write a video of ``n`` numbered pictures.

    Args:
        path: where; the suffix picks the container unless ``container`` names FFmpeg's muxer.
        n: pictures.
        fps: their rate; also the time base's inverse unless ``time_base`` is given.
        size: upright width and height, px.
        rotation: degrees clockwise a player must turn the stored picture by; written as display matrix.
        vfr_pts: stamp of each picture in units of ``time_base``; otherwise 0, 1, 2... at ``fps``.
        time_base: seconds per tick of ``vfr_pts``.
        audio: add a 440 Hz AAC tone (Opus in webm) of ``audio_s`` seconds, else as long as ``n / fps``.
        codec: FFmpeg's encoder.
        pix_fmt: what it is fed with.
        gop: pictures from key frame to key frame.
        b_frames: most B pictures in a row.
        options: encoder options; the default is fast and nearly lossless.
        colour: (AVCOL_SPC matrix, AVCOL_RANGE range) to convert to and to tag, e.g. (1, 1) = BT.709 limited.
        faststart: put an MP4's index at the front, so that a cut-off file opens.
        clock_start_s: added to every stamp by the muxer, as recordings of broadcasts have.
        draw: what picture i shows, given its number and size.
        setup: called with the video stream before writing, for anything else.

    Returns:
        ``path``.
    """
    time_base = time_base or 1 / Fraction(fps)
    stamps = list(vfr_pts) if vfr_pts is not None else list(range(n))
    turn = (rotation or 0) // 90
    stored = size if turn % 2 == 0 else size[::-1]
    muxer_options = {"movflags": "+faststart"} if faststart else {}
    if clock_start_s:
        muxer_options["output_ts_offset"] = str(clock_start_s)
    with av.open(str(path), "w", format=container, container_options=muxer_options) as output:
        stream = output.add_stream(codec, rate=Fraction(fps))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = stored
        stream.pix_fmt = pix_fmt
        stream.options = options if options is not None else _default_options(codec)
        context = stream.codec_context
        context.time_base = time_base
        stream.time_base = time_base
        if codec not in ("gif", "ffv1", "rawvideo", "mjpeg"):
            context.gop_size, context.max_b_frames = gop, b_frames
        if colour:
            context.colorspace, context.color_range = colour
        if rotation is not None:
            stream.set_display_rotation(-rotation)  # FFmpeg counts counter-clockwise
        if setup:
            setup(stream)
        sound = _add_tone(output, path) if audio else None
        for number, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.rot90(draw(number, size), turn)), "bgr24")
            if colour:
                frame = frame.reformat(format=pix_fmt, dst_colorspace=_sws_matrix(colour[0]), dst_color_range=colour[1])
            frame.pts, frame.time_base = stamp, time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None:
            _write_tone(output, sound, audio_s if audio_s is not None else float(n / Fraction(fps)))
    return path


def video_packets(path: Path) -> list[tuple[int, int, int]]:
    """(byte position in the file, size, pts) of each video packet, in decode order."""
    with av.open(str(path)) as container:
        return [(p.pos or 0, p.size, p.pts or 0) for p in container.demux(video=0) if p.size]


def damage(path: Path, packets: Sequence[int], *, noise: bool = False, keep: int = 0) -> None:
    """Overwrite the packets with these decode ordinals in place: with zeros, or noise after ``keep`` bytes."""
    content = bytearray(path.read_bytes())
    places = video_packets(path)
    random = np.random.default_rng(7)
    for which in packets:
        position, size, _ = places[which]
        length = size - keep
        content[position + keep : position + size] = (
            random.integers(0, 256, length, np.uint8).tobytes() if noise else bytes(length)
        )
    path.write_bytes(content)


def _default_options(codec: str) -> dict[str, str]:
    return {
        "libx264": {"preset": "ultrafast", "crf": "10"},
        "libvpx": {"deadline": "realtime", "cpu-used": "8", "crf": "8", "b": "2M"},
        "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "0"},
    }.get(codec, {})


def _sws_matrix(av_matrix: int) -> int:
    return 5 if av_matrix == 6 else av_matrix  # the scaler calls SMPTE 170M (6) ITU601 (5)


def _add_tone(output: av.container.OutputContainer, path: Path) -> av.AudioStream:
    stream = output.add_stream("libopus" if path.suffix == ".webm" else "aac", rate=48_000)
    assert isinstance(stream, av.AudioStream)
    stream.layout = "mono"
    return stream


def _write_tone(output: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * 48_000)) / 48_000)).astype(np.float32)
    for start in range(0, len(tone), 960):
        frame = av.AudioFrame.from_ndarray(tone[None, start : start + 960], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))
