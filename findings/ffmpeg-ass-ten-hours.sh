#!/usr/bin/env bash
# FFmpeg 9.0.2 (imageio-ffmpeg 0.8.1).
#
# Converting subtitles to ASS, FFmpeg puts every cue after ten hours at 9:59:59.99, with no length and without a warning
# (exit 0): the format's hours have no fixed width, but the muxer caps them at one digit. Long recordings with wall-clock
# times lose all cues of the afternoon.
#
# Seen: "Dialogue: 0,9:59:59.99,9:59:59.99,..." for a cue of 10:00:05 to 10:00:10, and for one of 12:30.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q imageio-ffmpeg==0.8.1
ffmpeg=$("$folder/venv/bin/python" -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')
printf '1\n09:59:50,000 --> 09:59:55,000\nbefore\n\n2\n10:00:05,000 --> 10:00:10,000\nafter\n\n3\n12:30:00,500 --> 12:30:02,000\nlater\n' \
  > "$folder/a.srt"
"$ffmpeg" -v error -i "$folder/a.srt" "$folder/a.ass"
grep Dialogue "$folder/a.ass"
grep -q '0,9:59:50.00,9:59:55.00,.*before' "$folder/a.ass"
test "$(grep -c '0,9:59:59.99,9:59:59.99,' "$folder/a.ass")" = 2
