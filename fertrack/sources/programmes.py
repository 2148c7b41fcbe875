"""Programmes of an MPEG transport stream: which of its streams belong to which, read from its own tables.

FFmpeg knows programmes, but PyAV does not show them. The tables are those of ISO/IEC 13818-1, 2.4.4: the program
association table (PID 0) names a map (PMT) for each programme, and that the PIDs of its streams.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["programmes"]

_READ_BYTES = 8 << 20
"""Tables are repeated ten times a second."""

_SYNC, _PACKET = 0x47, 188
_STRIDES = (188, 192, 204)  # plain; with a time before each packet (M2TS); with error correction after it


def programmes(path: Path) -> dict[int, int]:
    """Programme number by PID; empty if the file is no transport stream, or cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(_READ_BYTES)
    except OSError:
        return {}
    maps: dict[int, int] = {}
    found: dict[int, int] = {}
    for pid, section in _sections(content):
        if pid == 0 and section[0] == 0x00:
            for at in range(8, len(section) - 4, 4):
                number = int.from_bytes(section[at : at + 2], "big")
                if number:  # 0 is the network's own table
                    maps[int.from_bytes(section[at + 2 : at + 4], "big") & 0x1FFF] = number
        elif pid in maps and section[0] == 0x02:
            at = 12 + (int.from_bytes(section[10:12], "big") & 0xFFF)
            while at + 5 <= len(section) - 4:
                found[int.from_bytes(section[at + 1 : at + 3], "big") & 0x1FFF] = maps[pid]
                at += 5 + (int.from_bytes(section[at + 3 : at + 5], "big") & 0xFFF)
    return found


def _sections(content: bytes) -> Iterator[tuple[int, bytes]]:
    """PID and bytes of each table section that lies whole in one packet: these tables do, but for very large ones."""
    for packet in _packets(content):
        starts, pid = packet[1] & 0x40, int.from_bytes(packet[1:3], "big") & 0x1FFF
        if not starts or not packet[3] & 0x10:
            continue
        at = 5 + packet[4] if packet[3] & 0x20 else 4
        if at >= _PACKET:
            continue
        at += 1 + packet[at]  # the pointer field
        if at + 3 > _PACKET or packet[at] not in (0x00, 0x02):
            continue
        end = at + 3 + (int.from_bytes(packet[at + 1 : at + 3], "big") & 0xFFF)
        if at + 12 <= end <= _PACKET:
            yield pid, packet[at:end]


def _packets(content: bytes) -> Iterator[bytes]:
    for stride in _STRIDES:
        for start in range(min(stride, len(content))):
            if all(content[at : at + 1] == b"\x47" for at in range(start, start + 5 * stride, stride)):
                for at in range(start, len(content) - _PACKET + 1, stride):
                    if content[at] == _SYNC:
                        yield content[at : at + _PACKET]
                return
