#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8: libavformat 62.12), numpy 2.4.6.
#
# Of bare H.264 that says its rate in its headers (VUI timing), FFmpeg's average_rate is always 25, and guessed_rate
# (av_guess_frame_rate) is 24 for 12 pictures a second and 25 for 12.5. codec_context.framerate and the packets'
# durations are right.
#
# Seen: "12: average 25, guessed 24, codec 12, packets 12" and "25/2: average 25, guessed 25, codec 25/2, packets 25/2".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q av==18.1.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder/a.h264" <<'PY'
import sys
from fractions import Fraction

import av
import numpy as np

path, seen = sys.argv[1], {}
for fps in (Fraction(12), Fraction(25, 2), Fraction(30)):
    with av.open(path, "w") as output:
        stream = output.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(20):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * i, np.uint8), "rgb24")))
        output.mux(stream.encode(None))
    with av.open(path) as container:
        stream = container.streams.video[0]
        (ticks,) = {packet.duration for packet in container.demux(stream) if packet.size}
        packets = 1 / (ticks * stream.time_base)
        seen[fps] = stream.average_rate, stream.guessed_rate, stream.codec_context.framerate, packets
        print(f"{fps}: average %s, guessed %s, codec %s, packets %s" % seen[fps])
assert seen[12] == (25, 24, 12, 12)
assert seen[Fraction(25, 2)] == (25, 25, Fraction(25, 2), Fraction(25, 2))
assert seen[30] == (25, 30, 30, 30)
PY
