"""HEIF images made of tiles, put together box by box (ISO/IEC 23008-12), as phones write them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

TILE = 64


def write_tiled(path: Path, image: npt.NDArray[np.uint8], *, codec: str = "hevc", quarter_turns: int = 0) -> Path:
    """Write a BGR image as a grid of 64 x 64 tiles.

    Args:
        path: where.
        image: uint8 (H, W, 3), BGR; sides that are multiples of 64.
        codec: "hevc" (HEIC) or "av1" (AVIF).
        quarter_turns: counter-clockwise turns that the file asks for when it is shown.
    """
    rows, columns = image.shape[0] // TILE, image.shape[1] // TILE
    tiles = [
        _encoded(image[r * TILE : (r + 1) * TILE, c * TILE : (c + 1) * TILE], path, codec)
        for r in range(rows)
        for c in range(columns)
    ]
    ids = list(range(1, len(tiles) + 1))
    grid = len(tiles) + 1
    payloads = [content for _, content in tiles]
    payloads.append(bytes([0, 0, rows - 1, columns - 1]) + _u(2, image.shape[1]) + _u(2, image.shape[0]))
    brands = (b"heic", b"mif1", b"heic") if codec == "hevc" else (b"avif", b"mif1", b"avif", b"miaf")
    kind, configuration = (b"hvc1", b"hvcC") if codec == "hevc" else (b"av01", b"av1C")
    properties = [
        _box(configuration, tiles[0][0]),
        _full(b"ispe", _u(4, TILE) + _u(4, TILE)),
        _full(b"ispe", _u(4, image.shape[1]) + _u(4, image.shape[0])),
        _full(b"pixi", bytes([3, 8, 8, 8])),
        _box(b"irot", bytes([quarter_turns])),
        _box(b"colr", b"nclx" + _u(2, 1) + _u(2, 13) + _u(2, 6) + bytes([0x80])),
    ]
    uses = [(item, (0x81, 0x02, 0x04, 0x06)) for item in ids] + [(grid, (0x03, 0x04, 0x06, 0x85))]
    associations = b"".join(_u(2, item) + bytes([len(used), *used]) for item, used in uses)
    entries = [_full(b"infe", _u(2, item) + _u(2, 0) + kind + b"\0", version=2) for item in ids]
    entries.append(_full(b"infe", _u(2, grid) + _u(2, 0) + b"grid\0", version=2))
    head = _box(b"ftyp", brands[0] + _u(4, 0) + b"".join(brands[1:]))

    def meta(first: int) -> bytes:
        places, at = b"", first
        for item, payload in zip([*ids, grid], payloads, strict=True):
            places += _u(2, item) + _u(2, 0) + _u(2, 1) + _u(4, at) + _u(4, len(payload))
            at += len(payload)
        references = _box(b"dimg", _u(2, grid) + _u(2, len(ids)) + b"".join(_u(2, item) for item in ids))
        return _full(
            b"meta",
            _full(b"hdlr", _u(4, 0) + b"pict" + bytes(12) + b"\0")
            + _full(b"pitm", _u(2, grid))
            + _full(b"iloc", bytes([0x44, 0x00]) + _u(2, len(payloads)) + places)
            + _full(b"iinf", _u(2, len(entries)) + b"".join(entries))
            + _full(b"iref", references)
            + _box(b"iprp", _box(b"ipco", b"".join(properties)) + _full(b"ipma", _u(4, len(uses)) + associations)),
        )

    start = len(head) + len(meta(0)) + 8
    path.write_bytes(head + meta(start) + _box(b"mdat", b"".join(payloads)))
    return path


def _encoded(tile: npt.NDArray[np.uint8], path: Path, codec: str) -> tuple[bytes, bytes]:
    """Decoder configuration and content of one tile, as an MP4 file would carry them."""
    draft = path.with_suffix(".tile.mp4")
    encoder = {"hevc": "libx265", "av1": "libsvtav1"}[codec]
    options = {"x265-params": "log-level=none:keyint=1", "crf": "1"} if codec == "hevc" else {"crf": "5", "preset": "8"}
    with av.open(str(draft), "w") as output:
        stream: Any = output.add_stream(encoder, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = TILE, TILE, "yuv420p"
        stream.codec_context.color_range = 2
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(tile), "bgr24").reformat(
            format="yuv420p", dst_colorspace=5, dst_color_range=2
        )
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        output.mux([*stream.encode(frame), *stream.encode(None)])
    with av.open(str(draft)) as container:
        content = next(bytes(packet) for packet in container.demux(video=0) if packet.size)
        configuration = bytes(container.streams.video[0].codec_context.extradata or b"")
    draft.unlink()
    return configuration, content


def _box(kind: bytes, content: bytes) -> bytes:
    return _u(4, len(content) + 8) + kind + content


def _full(kind: bytes, content: bytes, *, version: int = 0) -> bytes:
    return _box(kind, bytes([version, 0, 0, 0]) + content)


def _u(size: int, value: int) -> bytes:
    return value.to_bytes(size, "big")
