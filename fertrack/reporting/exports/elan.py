"""Episodes as tab-delimited text, as ELAN reads it (File, Import, CSV / Tab-delimited Text File).

One line per episode, in order of time, no header line; four fields with a tab between them:

=====  ===================================================================================
field  meaning
=====  ===================================================================================
1      tier: the person, ``Ana`` or ``P2``; ``Ana (P2)`` where two have one name
2      begin, whole milliseconds of the video
3      end, whole milliseconds of the video
4      annotation: the expression estimate, such as ``happiness``
=====  ===================================================================================

UTF-8, a line feed after each line. Annotations of one tier never overlap. Tell ELAN: column 1 is the tier, 2 the begin
time, 3 the end time, 4 the annotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fertrack.reporting.exports.subtitles import Cue

__all__ = ["to_elan"]


def to_elan(lines: Sequence[Cue]) -> str:
    """The cues as tab-delimited text."""
    keys: dict[str, set[str]] = {}
    for cue in lines:
        keys.setdefault(cue.who, set()).add(cue.key)
    rows = []
    for cue in lines:
        begin_ms = max(0, round(cue.start_s * 1000))
        end_ms = max(round(cue.end_s * 1000), begin_ms + 1)
        tier = cue.who if len(keys[cue.who]) == 1 else f"{cue.who} ({cue.key})"
        rows.append(f"{tier}\t{begin_ms}\t{end_ms}\t{cue.text.rpartition(' ')[0]}\n")
    return "".join(rows)
