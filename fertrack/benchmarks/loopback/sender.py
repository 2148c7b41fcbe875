"""A clip as a live stream over loopback: ``python -m fertrack.benchmarks loopback.sender CLIP``.

It runs in a process of its own, so that sending and receiving do not share an interpreter lock in what is measured.
The clip is encoded once and played in a loop. Commands come as lines on standard input, whose end ends the sender:

=====================  ==============================================================
``cut SECONDS``        break all connections off, and refuse new ones for so long
``stall SECONDS``      send nothing for so long, though the connections stay
``size 640x360``       go on with images of this size
=====================  ==============================================================

On standard output come ``ready ADDRESS``, and with ``--numbered`` a line ``sent NUMBER MONOTONIC_S`` per image.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TextIO

from fertrack.benchmarks.loopback.clip import StreamClip, encode_clip
from fertrack.benchmarks.loopback.mjpeg import MjpegServer
from fertrack.benchmarks.loopback.rtsp import RtspServer
from fertrack.benchmarks.loopback.show import Show
from fertrack.benchmarks.loopback.udp import UdpSender
from fertrack.errors import EvaluationError, FertrackError

__all__ = ["PROTOCOLS", "LoopbackSender", "Protocol", "frame_size", "main"]

Protocol = Literal["mjpeg", "udp", "rtsp"]
PROTOCOLS: tuple[Protocol, ...] = ("mjpeg", "udp", "rtsp")
"""HTTP MJPEG, MPEG-TS over UDP, RTSP."""

_READY_S = 120.0
_END_S = 10.0


class LoopbackSender:
    """Plays a clip as a live stream from another process while entered.

    Args:
        clip: a video.
        protocol: how it is sent.
        fps: images per second.
        size: width and height, px; None = the clip's.
        seconds: most of the clip that is used.
        numbered: draw a number into each image (``stream_clip.number_in`` reads it) and keep when it was sent.

    Attributes:
        address: where to watch; set on entering.
        sent_s: of a numbered clip, ``time.monotonic()`` at which each number was sent last. On Linux and macOS that is
            the same clock in all processes.

    Raises:
        EvaluationError: the sender could not be started (on entering).

    >>> with LoopbackSender("clip.mp4", "mjpeg") as sender:      # doctest: +SKIP
    ...     source = open_live_source(sender.address)
    ...     sender.cut(down_s=0.5)
    """

    def __init__(
        self,
        clip: str | Path,
        protocol: Protocol,
        *,
        fps: float = 30.0,
        size: tuple[int, int] | None = None,
        seconds: float = 10.0,
        numbered: bool = False,
    ) -> None:
        self.address = ""
        self.sent_s: dict[int, float] = {}
        self._command = [sys.executable, "-m", "fertrack.benchmarks", "loopback.sender", str(clip)]
        self._command += ["--protocol", protocol, "--fps", f"{fps:g}", "--seconds", f"{seconds:g}"]
        self._command += ["--size", f"{size[0]}x{size[1]}"] if size else []
        self._command += ["--numbered"] if numbered else []
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        """Start the process; returns once it sends."""
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._listen, name="fertrack-sender", daemon=True)
        self._reader.start()
        self._ready.wait(_READY_S)
        if not self.address:
            complaint = self._end()
            raise EvaluationError(f"the sender could not be started: {complaint or 'it did not get ready in time'}")
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process."""
        self._end()

    def cut(self, down_s: float = 0.0) -> None:
        """Break all connections off, and refuse new ones for so many seconds."""
        self._say(f"cut {down_s:g}")

    def stall(self, seconds: float) -> None:
        """Send nothing for so many seconds, though the connections stay."""
        self._say(f"stall {seconds:g}")

    def resize(self, width: int, height: int) -> None:
        """Go on with images of another size, px; takes as long as encoding the clip anew."""
        self._say(f"size {width}x{height}")

    def _say(self, command: str) -> None:
        standard_input = self._process.stdin
        if standard_input is None or self._process.poll() is not None:
            raise EvaluationError("the sender has ended")
        standard_input.write(command + "\n")
        standard_input.flush()

    def _listen(self) -> None:
        """The thread that reads what the process says."""
        for line in self._process.stdout or ():
            word, *rest = line.split()
            if word == "ready":
                self.address = rest[0]
                self._ready.set()
            elif word == "sent":
                self.sent_s[int(rest[0])] = float(rest[1])
        self._ready.set()

    def _end(self) -> str:
        """Stop the process; gives the last line of what it complained of."""
        process = self._process
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._reader.join()
        complaint = process.stderr.read().strip() if process.stderr is not None else ""
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        return complaint.rpartition("\n")[2]


def main(arguments: Sequence[str], commands: TextIO | None = None, output: TextIO | None = None) -> int:
    """Send until the commands end; see the module. Returns the exit status."""
    options = _parser().parse_args(arguments)
    written, out = threading.Lock(), output or sys.stdout

    def say(line: str) -> None:
        with written:
            out.write(line + "\n")
            out.flush()

    def clip_of(size: tuple[int, int] | None) -> StreamClip:
        codec: Literal["mjpeg", "h264"] = "mjpeg" if options.protocol == "mjpeg" else "h264"
        return encode_clip(
            options.clip, codec, fps=options.fps, size=size, seconds=options.seconds, numbered=options.numbered
        )

    try:
        show = Show(clip_of(options.size))
        if options.numbered:
            show.on_sent = lambda number: say(f"sent {number} {time.monotonic():.6f}")
        with _SENDERS[options.protocol](show, options.port) as sender:
            say(f"ready {sender.address}")
            for line in commands or sys.stdin:
                word, _, value = line.strip().partition(" ")
                if word == "cut":
                    show.cut(float(value or 0))
                elif word == "stall":
                    show.stall(float(value))
                elif word == "size":
                    show.change(clip_of(frame_size(value)))
    except FertrackError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


_SENDERS: dict[str, Callable[[Show, int], MjpegServer | UdpSender | RtspServer]] = {
    "mjpeg": MjpegServer,
    "udp": UdpSender,
    "rtsp": RtspServer,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fertrack.benchmarks loopback.sender", description=__doc__)
    parser.add_argument("clip", type=Path, help="a video")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="mjpeg")
    parser.add_argument("--port", type=int, default=0, help="0 = a free one")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--size", type=frame_size, default=None, metavar="WxH", help="the clip's own where not given")
    parser.add_argument("--seconds", type=float, default=10.0, help="most of the clip that is used")
    parser.add_argument("--numbered", action="store_true", help="draw numbers, and say when each was sent")
    return parser


def frame_size(text: str) -> tuple[int, int]:
    """Width and height of ``1280x720``, px; the type of an option.

    Raises:
        ArgumentTypeError: it is none.
    """
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) >= 16 and int(height) >= 16):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: give for example 1280x720")
    return int(width), int(height)
