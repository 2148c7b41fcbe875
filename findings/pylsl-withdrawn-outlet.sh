#!/usr/bin/env bash
# pylsl 1.18.6 (its wheel carries liblsl 1.18).
#
# An LSL outlet that is deleted takes along what it was given and has not sent yet: samples pushed just before the end of a
# program never reach a receiver that is connected, without an error on either side. There is no flush; waiting a
# moment before the outlet is deleted helps. The markers that end an experiment are what gets lost.
#
# Seen: 50 markers pushed, 5 received; with 0.3 s between the last of them and the end, 50.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pylsl==1.18.6
cat > "$folder/probe.py" <<'PY'
import time

import pylsl


def received(linger_s: float) -> int:
    name = f"probe {linger_s}"
    outlet = pylsl.StreamOutlet(pylsl.StreamInfo(name, "Markers", 1, 0, pylsl.cf_string, name))
    inlet = pylsl.StreamInlet(pylsl.resolve_byprop("source_id", name, timeout=10.0)[0])
    inlet.open_stream(timeout=10.0)
    while not outlet.have_consumers():
        time.sleep(0.01)
    time.sleep(0.5)
    for number in range(50):
        outlet.push_sample([str(number)])
    time.sleep(linger_s)
    del outlet
    count = 0
    while inlet.pull_sample(timeout=1.0)[0] is not None:
        count += 1
    return count


at_once, later = received(0.0), received(0.3)
print(at_once, "at once,", later, "after 0.3 s")
assert at_once < 50 == later
PY
"$folder/venv/bin/python" "$folder/probe.py" 2> /dev/null
