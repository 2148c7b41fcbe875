"""JSON lines of a live run, to standard output or to programs that connect to a port of this machine.

Each line is an object of one ``type``:

``result``
    ``time_s`` (seconds since the first frame), ``captured_at`` (seconds since 1970), ``frame_index``, and ``persons``,
    those in sight: ``person``, ``name``, ``track``, ``expression`` ("uncertain" where none is sure), ``probability``,
    ``probabilities`` by expression (smoothed) and ``xyxy`` (px of the source frame).
``event``
    ``event`` ("seen", "lost", "id", "onset", "offset"), ``time_s``, ``captured_at``, ``person``, ``name``, ``track``,
    and of onsets and offsets ``expression``, of offsets ``duration_s``; or ``outage`` of the source, with its
    ``duration_s``.

UTF-8. Analysis never waits for a reader: lines for one that is too slow are dropped and counted; a program on the port
that takes none for a second is let go. The port takes connections of this machine only, of every user of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import sys
import threading
import time
from typing import Any

from fertrack.errors import ConfigError, reason_of
from fertrack.live.outlets.updates import Update
from fertrack.types import FrameResult

__all__ = ["JsonLinesOutlet", "lines_of"]

_QUEUE = 256
_SLOW_S = 1.0


def lines_of(update: Update, *, unix_s: float) -> list[str]:
    """Lines of one update, without their ends.

    Args:
        update: the update.
        unix_s: when its frame was captured, seconds since 1970.
    """
    told: list[dict[str, Any]] = []
    if update.result is not None:
        persons = [
            {
                "person": each.person,
                "name": each.name,
                "track": each.track,
                "expression": each.label,
                "probability": round(each.probability, 4),
                "probabilities": {name: round(value, 4) for name, value in each.probabilities.items()},
                "xyxy": _box(update.result, each.track),
            }
            for each in update.persons
        ]
        told.append(
            {
                "type": "result",
                "time_s": round(update.result.timestamp_s, 6),
                "captured_at": round(unix_s, 6),
                "frame_index": update.result.frame_index,
                "persons": persons,
            }
        )
    told += [{"type": "event", "captured_at": round(unix_s, 6), **event.as_dict()} for event in update.events]
    return [json.dumps(each, ensure_ascii=False, separators=(",", ":")) for each in told]


def _box(result: FrameResult, track: int) -> list[float] | None:
    rows = (result.track_ids == track).nonzero()[0]
    return [round(value, 2) for value in result.track_xyxy[rows[0]].tolist()] if len(rows) else None


class JsonLinesOutlet:
    """Outlet of JSON lines.

    Args:
        stdout: write to standard output.
        port: of this machine, to send the same lines to whoever connects; 0: none.

    Attributes:
        notes: sentences that the user must see.
        port: the port.

    Raises:
        ConfigError: the port cannot be used.
    """

    def __init__(self, *, stdout: bool = False, port: int = 0) -> None:
        self.notes: list[str] = []
        self.port = port
        self._stdout = stdout
        self._dropped = 0
        self._clients: list[socket.socket] = []
        self._lock = threading.Lock()
        self._closed = False
        self._listener: socket.socket | None = None
        if port:
            try:
                self._listener = socket.create_server(("127.0.0.1", port))
            except OSError as error:
                raise ConfigError(
                    f"outlet.jsonl_port: port {port} cannot be used ({reason_of(error)}): choose another"
                ) from error
            threading.Thread(target=self._accept, args=(self._listener,), name="fertrack-jsonl", daemon=True).start()
        self._queue: queue.Queue[bytes | None] = queue.Queue(_QUEUE)
        self._writer = threading.Thread(target=self._write, name="fertrack-jsonl-writer", daemon=True)
        self._writer.start()

    def send(self, update: Update) -> None:
        """Send one update; never waits."""
        unix_s = time.time() - (time.monotonic() - update.at_s)
        lines = lines_of(update, unix_s=unix_s)
        if not lines or self._closed:
            return
        try:
            self._queue.put_nowait(("\n".join(lines) + "\n").encode())
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Send what waits to whoever still reads, and let them go."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=_SLOW_S)
        self._writer.join(timeout=2 * _SLOW_S)
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        with self._lock:
            for client in self._clients:
                client.close()
            self._clients.clear()
        if self._dropped:
            self.notes.append(f"JSON lines of {self._dropped} results were dropped, because nobody took them in time")

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed
                return
            client.settimeout(_SLOW_S)
            with self._lock:
                self._clients.append(client)

    def _write(self) -> None:
        while (text := self._queue.get()) is not None:
            if self._stdout:
                self._to_stdout(text)
            with self._lock:
                clients = list(self._clients)
            for client in clients:
                try:
                    client.sendall(text)
                except OSError:  # gone, or too slow
                    client.close()
                    with self._lock, contextlib.suppress(ValueError):
                        self._clients.remove(client)

    def _to_stdout(self, text: bytes) -> None:
        try:
            sys.stdout.flush()
            rest = memoryview(text)
            while rest:
                rest = rest[os.write(sys.stdout.fileno(), rest) :]
        except (OSError, ValueError) as error:  # nobody reads any more, or it was closed
            self._stdout = False
            self.notes.append(f"standard output took no more JSON lines ({reason_of(error)})")
