#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8: libswscale 9.5), numpy 2.4.6.
#
# VideoFrame.reformat() says of dst_color_trc: "This sets frame metadata only; it does not perform a pixel-level
# transfer function conversion." It does convert: PQ's reference white (203 cd/m2), grey 148 as read, becomes 253, and
# naming the transfer the frame already has changes nothing. What is costly is kept by a VideoReformatter: the first
# picture takes seconds, each one after it milliseconds, and frame.reformat() makes a new reformatter every time.
#
# Seen: "as read 148, converted 253", and a first conversion more than ten times as long as the second.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q av==18.1.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import time

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorTrc, VideoReformatter

assert "sets frame metadata only" in VideoReformatter.reformat.__doc__


def pq(nits: float) -> float:  # SMPTE ST 2084
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    y = (nits / 10_000) ** m1
    return ((c1 + c2 * y) / (1 + c3 * y)) ** m2


frame = av.VideoFrame(64, 48, "yuv420p10le")
for plane, level in zip(frame.planes, (round(64 + 876 * pq(203)), 512, 512)):
    plane.update(np.full((plane.height, plane.line_size // 2), level, np.uint16).tobytes())
frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range = 16, 9, 9, 1
as_read = int(frame.reformat(format="bgr24").to_ndarray().mean())
reformatter = VideoReformatter()
seconds = []
for _ in range(2):
    started = time.process_time()
    sdr = reformatter.reformat(
        frame, format="bgr24", dst_color_trc=ColorTrc.BT709, dst_color_primaries=ColorPrimaries.BT709
    ).to_ndarray()
    seconds.append(time.process_time() - started)
print(f"as read {as_read}, converted {int(sdr.mean())}; {seconds[0]:.2f} s, then {seconds[1]:.4f} s")
assert as_read == 148
assert int(sdr.mean()) > 245
assert seconds[0] > 10 * seconds[1]
PY
