#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93, Pillow 13.0.0, numpy 2.4.6.
#
# imread and imdecode turn JPEG images upright by their EXIF orientation, unless IMREAD_IGNORE_ORIENTATION is given. An
# AVIF image says it by its own properties (irot, imir), and OpenCV does not follow them: a portrait comes out lying on
# its side, without a word. Pillow turns it.
#
# Seen: "JPEG (96, 64)", "AVIF (64, 96)" (height, width) by OpenCV; AVIF (96, 64) by Pillow.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q opencv-python-headless==5.0.0.93 pillow==13.0.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

folder, seen = Path(sys.argv[1]), {}
exif = Image.Exif()
exif[0x0112] = 6  # to be turned by 90 degrees clockwise
pixels = np.zeros((64, 96, 3), np.uint8)
pixels[:, :48] = 250, 30, 30
for kind in ("JPEG", "AVIF"):
    path = folder / kind
    Image.fromarray(pixels).save(path, kind, exif=exif.tobytes())
    by_opencv = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR).shape[:2]
    by_pillow = ImageOps.exif_transpose(Image.open(path)).size[::-1]
    seen[kind] = by_opencv, by_pillow
    print(kind, "OpenCV", by_opencv, "Pillow", by_pillow)
assert seen["JPEG"] == ((96, 64), (96, 64))
assert seen["AVIF"] == ((64, 96), (96, 64))
PY
