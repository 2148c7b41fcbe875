#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8: libavformat 62.12), Pillow 13.0.0.
#
# FFmpeg's GIF demuxer has the options min_delay ("minimum valid delay between frames (in hundredths of second)",
# default 2) and default_delay (10). They are accepted and have no effect: a delay of 1 stays 10 ms, where browsers show
# 100 ms; only a delay of 0 becomes 100 ms. A 15-picture GIF that plays for 1.5 s everywhere lasts 0.15 s.
#
# Seen: durations 1 (and 3), whatever min_delay says; 10 for a delay of 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q av==18.1.0 pillow==13.0.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder/a.gif" <<'PY'
import struct
import sys

import av
import numpy as np
from PIL import Image

path = sys.argv[1]


def durations(delay: int, **options: str) -> list[int]:
    pictures = [Image.fromarray(np.full((16, 16, 3), 40 * i, np.uint8)) for i in range(5)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=500)
    content, at = bytearray(open(path, "rb").read()), 0
    while (at := content.find(b"\x21\xf9\x04", at)) >= 0:
        content[at + 4 : at + 6] = struct.pack("<H", delay)
        at += 8
    open(path, "wb").write(content)
    with av.open(path, container_options=options) as container:
        return sorted({packet.duration for packet in container.demux(video=0) if packet.size})


for delay, options in ((1, {}), (1, {"min_delay": "2"}), (3, {"min_delay": "20", "default_delay": "30"}), (0, {})):
    print(delay, options, durations(delay, **options))
assert durations(1) == durations(1, min_delay="2") == [1]
assert durations(3, min_delay="20", default_delay="30") == [3]
assert durations(0) == [10]
PY
