"""Opening a container and reading what it says about its video, with refusals in one sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from fertrack.errors import VideoOpenError
from fertrack.sources.programmes import programmes
from fertrack.sources.stream.credentials import mask_mistyped

__all__ = ["Timeline", "first_decoded_frame", "open_container", "other_videos", "video_stream"]

_CONTAINER_TIME_BASE = Fraction(1, 1_000_000)
_MAX_RUSHED_S, _USUAL_S = Fraction(1, 100), Fraction(1, 10)
_MIN_FPS, _MAX_FPS = 1, 1000  # what a header may say
_USUAL_FPS = Fraction(25)  # FFmpeg's own choice where nothing is said
_NO_TIMESTAMPS, _TS_DISCONT = 0x0080, 0x0200  # AVFMT_NOTIMESTAMPS, AVFMT_TS_DISCONT


_TEXT_AS_PICTURES = {"ansi", "bintext", "idf", "xbin"}
"""Decoders with which FFmpeg shows any .txt file as a film of scrolling letters."""


def open_container(path: Path) -> InputContainer:
    """Open a local file; playlists in it may name local files only.

    Raises:
        VideoOpenError: it is missing, unreadable, empty, or not a video.
    """
    if not path.exists():
        raise VideoOpenError(f"{mask_mistyped(str(path))} does not exist: check the spelling and the folder")
    if not path.is_file():
        raise VideoOpenError(f"{path} is not a file: give a video file or a folder of images")
    try:
        if path.stat().st_size == 0:
            raise VideoOpenError(f"{path} is empty (0 bytes): copy or download it again")
        return av.open(
            str(path.absolute()),
            mode="r",
            container_options={"protocol_whitelist": "file,crypto,data"},
            metadata_errors="replace",
        )
    except PermissionError as error:
        raise VideoOpenError(f"{path} may not be read: check its permissions") from error
    except (FFmpegError, OSError, ValueError) as error:
        raise VideoOpenError(
            f"{path} cannot be opened as a video: its format is unknown, or it was cut off before its index was written"
        ) from error


def video_stream(container: InputContainer, path: Path, which: str = "") -> VideoStream:
    """The video in a container: the one asked for, else the one players show; never a cover image.

    Args:
        container: the container.
        path: its file, for messages.
        which: number among its videos, or "program N"; empty = the one players show.

    Raises:
        VideoOpenError: there is none, or no decoder for it, or not the one asked for.
    """
    candidates = _videos(container)
    if not candidates:
        what = "only sound" if container.streams.audio else "nothing that can be shown"
        raise VideoOpenError(f"{path} has no video in it, {what}: give a file with pictures")
    best = container.streams.best("video")
    stream = best if isinstance(best, VideoStream) and best in candidates else candidates[0]
    if which:
        stream = _asked_for(candidates, path, which)
    if cast(object, stream.codec_context) is None:  # typed as always there; it is None without a decoder
        raise VideoOpenError(f"{path} is encoded in a way that cannot be decoded here: convert it to H.264 first")
    if stream.codec_context.name in _TEXT_AS_PICTURES:
        raise VideoOpenError(f"{path} is a text file, not a video: give a file with pictures")
    return stream


def other_videos(container: InputContainer, path: Path, chosen: VideoStream) -> str:
    """For people: which of several videos is read, and which others there are; empty if it is the only one."""
    candidates = _videos(container)
    if len(candidates) < 2:
        return ""
    names = _names(candidates, path)
    others = ", ".join(name for name, video in zip(names, candidates, strict=True) if video.index != chosen.index)
    number = [video.index for video in candidates].index(chosen.index)
    other = 2 if number == 0 else 1
    return f"video {names[number]} is read; there is also {others}: choose with --set input.stream={other}"


def _videos(container: InputContainer) -> list[VideoStream]:
    """The videos in a container, without cover images and thumbnails."""
    beside = Disposition.attached_pic | Disposition.timed_thumbnails
    return [stream for stream in container.streams.video if not stream.disposition & beside]


def _names(videos: list[VideoStream], path: Path) -> list[str]:
    numbers = programmes(path)
    names = []
    for number, video in enumerate(videos, start=1):
        programme = f", program {numbers[video.id]}" if video.id in numbers else ""
        codec = cast(object, video.codec_context) and video.codec_context.codec.canonical_name
        size = f"{video.codec_context.width}x{video.codec_context.height} " if codec else ""
        names.append(f"{number} ({size}{codec or 'of an unknown kind'}{programme})")
    return names


def _asked_for(videos: list[VideoStream], path: Path, which: str) -> VideoStream:
    if which.isdecimal():
        if 1 <= int(which) <= len(videos):
            return videos[int(which) - 1]
    else:
        numbers = programmes(path)
        wanted = int("".join(filter(str.isdecimal, which)))
        for video in videos:
            if numbers.get(video.id) == wanted:
                return video
    there_is = ", ".join(_names(videos, path))
    raise VideoOpenError(f"{path} has no video {which!r} (input.stream): there is {there_is}")


def too_large(path: Path, width: int, height: int) -> str:
    """Sentence about a frame or an image with more pixels than are opened."""
    return (
        f"{path} is {width}x{height} pixels large, more than input.max_megapixels allows: if that is right, use "
        f"--set input.max_megapixels={math.ceil(width * height / 1e6)}"
    )


def first_decoded_frame(path: Path, which: str = "", max_pixels: int = 0) -> tuple[VideoFrame, Fraction | None]:
    """The first frame that can be decoded, and the pixel aspect the stream names.

    Args:
        path: the file.
        which: as in ``video_stream``.
        max_pixels: of the largest frame that is decoded; 0: any.

    Raises:
        VideoOpenError: there is none, or it is too large.
    """
    with open_container(path) as container:
        stream = video_stream(container, path, which)
        width, height = stream.codec_context.width, stream.codec_context.height
        if 0 < max_pixels < width * height:
            raise VideoOpenError(too_large(path, width, height))
        try:
            for packet in container.demux(stream):
                try:
                    pictures = stream.decode(packet)
                except FFmpegError:
                    continue
                if pictures:
                    return pictures[0], stream.sample_aspect_ratio
        except FFmpegError as error:
            raise VideoOpenError(f"{path} has no picture that can be decoded: it is damaged from the start") from error
    raise VideoOpenError(f"{path} has no pictures in it, or none that can be decoded")


@dataclass(frozen=True, slots=True)
class Timeline:
    """Times of a video as its container states them. All but the time base may be wrong.

    Attributes:
        time_base: seconds per tick.
        origin_ticks: stamp that counts as 0 s: 0, except in formats whose clock starts anywhere (MPEG-TS).
        fps: average frame rate, 0 if unknown.
        interval_ticks: about one frame, at least 1.
        duration_s: length of the video, 0 if unknown.
        end_s: time at which the video ends, None if unknown.
        frame_count: frames announced, 0 if not said.
        is_stamped: whether the frames carry times; if not, they are ``fps`` apart.
        fps_from: without stamps, where that rate comes from, for people; empty if nothing says it.
        starts: stamps of the frames where those of the file are not used; by ordinal.
        may_restart: whether it is of a format whose clock may start anew at any place.
    """

    time_base: Fraction
    origin_ticks: int
    fps: float
    interval_ticks: int
    duration_s: float
    end_s: float | None
    frame_count: int
    is_stamped: bool = True
    fps_from: str = ""
    may_restart: bool = False
    starts: tuple[int, ...] = ()

    @classmethod
    def of(cls, container: InputContainer, stream: VideoStream, fps: float | None = None) -> Timeline:
        """Read it from an opened container.

        A stream without times (bare H.264, HEVC or MPEG video) has the rate that its own headers name, which FFmpeg's
        estimates need not be: it doubles 12 frames a second, and takes 12.5 for 25.

        Args:
            container: the container.
            stream: its video.
            fps: rate of a stream without times; without effect on others.
        """
        if container.format.flags & _NO_TIMESTAMPS:
            return cls._without_stamps(stream, fps)
        time_base = stream.time_base or Fraction(1, 90_000)
        origin_ticks = 0
        if container.format.flags & _TS_DISCONT and container.start_time is not None:
            origin_ticks = round(container.start_time * _CONTAINER_TIME_BASE / time_base)
        rate = stream.average_rate or stream.guessed_rate
        start_s = float(((stream.start_time or 0) - (origin_ticks if stream.start_time is not None else 0)) * time_base)
        own = _own_duration_s(stream, time_base)
        if container.format.name == "avi" and rate:  # cut off, FFmpeg says how long the rest of it is
            own = max(own or 0.0, float(stream.frames / rate)) or None
        whole = float(container.duration * _CONTAINER_TIME_BASE) if container.duration else 0.0
        end_s = None
        if own is not None:
            end_s = start_s + own
        elif whole and not container.streams.audio:  # with sound, the sound may be what lasts that long
            end_s = start_s + whole
        return cls(
            time_base=time_base,
            origin_ticks=origin_ticks,
            fps=float(rate) if rate else 0.0,
            interval_ticks=max(1, round(1 / (rate * time_base))) if rate else 1,
            duration_s=own if own is not None else whole,
            end_s=end_s,
            frame_count=stream.frames,
            may_restart=bool(container.format.flags & _TS_DISCONT),
        )

    @classmethod
    def _without_stamps(cls, stream: VideoStream, fps: float | None) -> Timeline:
        time_base = stream.time_base or Fraction(1, 1_200_000)
        own = stream.codec_context.framerate
        rate = own if own and _MIN_FPS <= own <= _MAX_FPS else _USUAL_FPS
        interval_ticks = max(1, round(1 / (rate * time_base)))
        if fps is not None:  # FFmpeg's ticks get another length, so that whatever it counts in them stays right
            time_base = 1 / (Fraction(fps).limit_denominator(1001) * interval_ticks)
        return cls(
            time_base=time_base,
            origin_ticks=0,
            fps=float(1 / (interval_ticks * time_base)),
            interval_ticks=interval_ticks,
            duration_s=0.0,
            end_s=None,
            frame_count=0,
            is_stamped=False,
            fps_from="as input.fps says" if fps is not None else "as its headers say" if rate is own else "",
        )

    def as_browsers_show_gif(self, path: Path) -> Timeline:
        """The same for a GIF: frames of 0 or 10 ms last 100 ms. FFmpeg believes 10 ms, whatever its options say."""
        with open_container(path) as container:
            said = [packet.duration or 0 for packet in container.demux(video=0) if packet.size]
        rushed, usual = round(_MAX_RUSHED_S / self.time_base), round(_USUAL_S / self.time_base)
        lasting = [usual if ticks <= rushed else ticks for ticks in said]
        if lasting == said or not said:
            return self
        *starts, end = (0, *accumulate(lasting))
        end_s = float(end * self.time_base)
        return replace(
            self,
            fps=len(said) / end_s,
            interval_ticks=usual,
            duration_s=end_s,
            end_s=end_s,
            frame_count=len(said),
            starts=tuple(starts),
        )

    @property
    def expected_frames(self) -> int:
        """About how many frames there should be; 0 if unknown."""
        return self.frame_count or round(self.duration_s * self.fps)


def _own_duration_s(stream: VideoStream, time_base: Fraction) -> float | None:
    """Length of the video stream itself: from its header, or from Matroska's per-stream tag ``00:00:03.666000000``."""
    if stream.duration:
        return float(stream.duration * time_base)
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return float(int(hours) * 3600 + int(minutes) * 60 + float(seconds))
    except ValueError:
        return None
