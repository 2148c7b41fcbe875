"""Clips in which a white picture and a beep come at the same moments, and where these are in a finished video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

RATE = 48_000
FPS = 25
_SIZE = (64, 48)
_BEEP_S = 0.12


def make_clip(
    path: Path,
    moments_s: Sequence[float],
    seconds: float,
    *,
    codec: str = "aac",
    layout: str = "stereo",
    holes_s: Sequence[tuple[float, float]] = (),
    clock_start_s: float = 0.0,
    video_codec: str = "libx264",
    silent_tracks: int = 0,
    default_track: int | None = None,
    muxer: Mapping[str, str] | None = None,
) -> Path:
    """Write a clip of ``seconds`` at 25 pictures a second with flashes and beeps at ``moments_s``.

    Args:
        path: where; the suffix picks the container.
        moments_s: when, seconds; multiples of 0.04.
        seconds: length of pictures and sound.
        codec: FFmpeg's encoder of the sound.
        layout: its channels.
        holes_s: sound packets that begin in these are not written.
        clock_start_s: added to all times.
        video_codec: FFmpeg's encoder of the pictures.
        silent_tracks: tracks without a beep before the one with them.
        default_track: which audio track is marked as the default one.
        muxer: more options for the container.
    """
    options = {"output_ts_offset": str(clock_start_s)} if clock_start_s else {}
    options |= muxer or {}
    with av.open(str(path), "w", container_options=options) as output:
        video = output.add_stream(video_codec, rate=FPS, options=_options(video_codec))
        assert isinstance(video, av.VideoStream)
        video.width, video.height = _SIZE
        video.pix_fmt = "yuv420p"
        video.codec_context.gop_size, video.codec_context.max_b_frames = 12, 0
        tracks: list[av.AudioStream] = []
        for number in range(silent_tracks + 1):
            track = output.add_stream(codec, rate=RATE)
            assert isinstance(track, av.AudioStream)
            track.layout = layout
            if default_track is not None:
                track.disposition = av.stream.Disposition.default if number == default_track else 0  # type: ignore[assignment]
            tracks.append(track)
        packets: list[Any] = []
        for i in range(round(seconds * FPS)):
            level = 235 if any(0 <= i / FPS - at < 0.08 for at in moments_s) else 20
            frame = av.VideoFrame.from_ndarray(np.full((*_SIZE[::-1], 3), level, np.uint8), "bgr24")
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            packets += video.encode(frame)
        packets += video.encode(None)
        for number, track in enumerate(tracks):
            wave = beeps_wave(moments_s if number == silent_tracks else (), seconds)
            packets += [p for p in _sound(track, wave) if not _in_hole(p, holes_s)]
        for packet in sorted(packets, key=lambda packet: float(packet.dts * packet.time_base)):
            output.mux(packet)
    return path


def beeps_wave(moments_s: Sequence[float], seconds: float) -> npt.NDArray[np.float32]:
    """One channel: silence, with a 1 kHz tone of 0.12 s at each moment."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    loud = np.zeros(len(time_s), bool)
    for at in moments_s:
        loud |= (time_s >= at) & (time_s < at + _BEEP_S)
    return np.where(loud, 0.5 * np.sin(2 * np.pi * 1000 * time_s), 0).astype(np.float32)


def flashes(path: Path) -> list[float]:
    """When the picture turns white, seconds."""
    with av.open(str(path)) as container:
        lit = [
            (float(f.pts * f.time_base), f.to_ndarray(format="gray").mean() > 128) for f in container.decode(video=0)
        ]
    return [at for (at, now), (_, before) in zip(lit, [(0.0, False), *lit], strict=False) if now and not before]


def beeps(path: Path, track: int = 0) -> list[float]:
    """When a beep begins, seconds; by the times of the decoded sound."""
    onsets: list[float] = []
    last_loud_s = -1.0
    with av.open(str(path)) as container:
        for frame in container.decode(audio=track):
            samples = frame.to_ndarray().astype(np.float64)
            if not frame.format.is_planar:
                samples = samples.reshape(-1, frame.layout.nb_channels).T
            peak = np.iinfo(frame.to_ndarray().dtype).max if samples.max() > 2 or samples.min() < -2 else 1.0
            for at in np.flatnonzero(np.abs(samples / peak).max(0) > 0.15):
                time_s = float(frame.pts * frame.time_base) + at / frame.sample_rate
                if time_s - last_loud_s > 0.03:
                    onsets.append(time_s)
                last_loud_s = time_s
    return onsets


def _sound(track: av.AudioStream, wave: npt.NDArray[np.float32]) -> list[Any]:
    kind, channels = track.codec_context.format.name, track.codec_context.layout.nb_channels
    packets: list[Any] = []
    size = 960
    fifo = av.AudioFifo()
    resampler = av.AudioResampler(kind, track.codec_context.layout.name, RATE)
    for start in range(0, len(wave), size):
        piece = np.repeat(wave[None, start : start + size], channels, axis=0)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), "fltp", track.codec_context.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        for ready in resampler.resample(frame):
            fifo.write(ready)
    want = track.codec_context.frame_size or size
    while (frame := fifo.read(want, partial=True)) is not None:
        packets += track.encode(frame)
    return packets + track.encode(None)


def _in_hole(packet: Any, holes_s: Sequence[tuple[float, float]]) -> bool:
    time_s = float(packet.pts * packet.time_base)
    return any(begin <= time_s < end for begin, end in holes_s)


def _options(codec: str) -> dict[str, str]:
    return {"preset": "ultrafast"} if codec == "libx264" else {}
