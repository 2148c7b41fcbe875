#!/usr/bin/env bash
# FFmpeg 9.0.2 (imageio-ffmpeg 0.8.1).
#
# Subtitles of several people overlap in time. Put into MP4 (mov_text), a cue ends where the next one begins, without a
# warning: of 1 s to 5 s remains 1 s to 2 s, and after the short cue nothing is shown. In Matroska they survive.
#
# Seen: "00:00:01,000 --> 00:00:02,000" read back from MP4, "00:00:01,000 --> 00:00:05,000" from MKV.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q imageio-ffmpeg==0.8.1
ffmpeg=$("$folder/venv/bin/python" -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')
printf '1\n00:00:01,000 --> 00:00:05,000\nP1 happiness\n\n2\n00:00:02,000 --> 00:00:03,000\nP2 sadness\n' \
  > "$folder/a.srt"
"$ffmpeg" -v error -i "$folder/a.srt" -c:s mov_text "$folder/a.mp4"
"$ffmpeg" -v error -i "$folder/a.srt" -c:s srt "$folder/a.mkv"
for kind in mp4 mkv; do
  "$ffmpeg" -v error -i "$folder/a.$kind" "$folder/$kind.srt"
  echo "$kind: $(grep -- '-->' "$folder/$kind.srt" | head -1)"
done
grep -q '00:00:01,000 --> 00:00:02,000' "$folder/mp4.srt"
grep -q '00:00:01,000 --> 00:00:05,000' "$folder/mkv.srt"
