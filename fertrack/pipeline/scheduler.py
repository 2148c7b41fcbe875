"""Scheduling of inference. Whatever the schedule, results come out in frame order and are the same."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from fertrack.errors import VideoReadError
from fertrack.pipeline.analyzer import FaceAnalyzer, Spotted
from fertrack.pipeline.config import EngineConfig
from fertrack.types import Frame, FrameFaces

__all__ = ["analyse_at_once", "analyse_in_order", "analyse_spaced", "available_cores", "seen_before"]


def available_cores() -> int:
    """Cores this process may use (its CPU affinity where the system tells, else all)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def analyse_in_order(
    analyzer: FaceAnalyzer, frames: Iterable[Frame], config: EngineConfig, *, keep_images: bool
) -> Generator[FrameFaces, None, None]:
    """Analyse frames on a few threads and yield the results in the order in which the frames came.

    At most ``workers + 1`` batches are in flight, so memory is bounded by that many batches of frames. Closing the
    generator cancels what has not started and waits for what has. If the source breaks, the frames it gave before come
    out first, whatever the schedule; then its error.

    Args:
        analyzer: the stateless half.
        frames: frames in order; read in the calling thread.
        config: threads and batch size.
        keep_images: hand the pixels on with the results.
    """
    workers = config.workers or available_cores()
    remaining = iter(frames)
    pending: deque[Future[list[FrameFaces]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="fertrack-analyse")
    broken: list[Exception] = []
    try:
        while batch := _next_batch(remaining, config.batch, broken):
            pending.append(pool.submit(analyzer.analyse, batch, keep_images=keep_images))
            if len(pending) > workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
        if broken:
            raise broken[0]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def analyse_spaced(
    analyzer: FaceAnalyzer, frames: Iterable[Frame], config: EngineConfig, every: int, *, keep_images: bool
) -> Generator[FrameFaces, None, None]:
    """As ``analyse_in_order``, but detect in every ``every``-th frame only, where the frames between allow it.

    Which frames those are depends on their place in the video alone, never on threads or batches.

    Args:
        analyzer: the stateless half.
        frames: frames in order; read in the calling thread.
        config: number of threads.
        every: distance of the frames that are always detected in, at least 2.
        keep_images: hand the pixels on with the results.
    """
    workers = config.workers or available_cores()
    remaining = iter(frames)
    pending: deque[Future[list[FrameFaces]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="fertrack-analyse")
    broken: list[Exception] = []

    def analyse(first: Future[Spotted], between: list[Frame], last: Future[Spotted] | None) -> list[FrameFaces]:
        # Both were handed to the pool before this, so they run or are done: nobody waits for what cannot begin.
        return analyzer.analyse_between(
            first.result(), between, last.result() if last else None, keep_images=keep_images
        )

    try:
        first = [pool.submit(analyzer.spot, frame) for frame in _next_batch(remaining, 1, broken)]
        while first:
            span = _next_batch(remaining, every, broken)
            last = [pool.submit(analyzer.spot, frame) for frame in span[every - 1 :]]
            pending.append(pool.submit(analyse, first[0], span[: every - 1], last[0] if last else None))
            first = last
            if len(pending) > workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
        if broken:
            raise broken[0]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def seen_before(
    known: Iterable[FrameFaces], frames: Iterator[Frame], *, keep_images: bool
) -> Generator[FrameFaces, None, None]:
    """Frames as they were seen before a run was cut off, with their images, which are read again.

    Args:
        known: what was seen of the first frames.
        frames: all frames; only those are taken.
        keep_images: hand the pixels on with the results.

    Raises:
        VideoReadError: the source gives other frames than then.
    """
    for each in known:
        frame = next(frames, None)
        if frame is None or (frame.index, frame.timestamp_s) != (each.frame_index, each.timestamp_s):
            raise VideoReadError(
                f"at {each.timestamp_s:.2f} s the video is no longer the one that this run began with: process it anew "
                "with --overwrite"
            )
        yield replace(each, image=frame.image if keep_images else None)


def analyse_at_once(
    analyzer: FaceAnalyzer, frames: Iterable[Frame], *, keep_images: bool
) -> Generator[FrameFaces, None, None]:
    """Analyse each frame in the calling thread as soon as it comes, and yield the result before taking the next.

    For live sources: no frame waits for another, so a result is as new as one analysis takes.

    Args:
        analyzer: the stateless half.
        frames: frames in order.
        keep_images: hand the pixels on with the results.
    """
    for frame in frames:
        yield from analyzer.analyse([frame], keep_images=keep_images)


def _next_batch(frames: Iterator[Frame], size: int, broken: list[Exception]) -> list[Frame]:
    """Up to ``size`` frames; what the source raises is put into ``broken``, so that frames read before it are kept."""
    batch: list[Frame] = []
    while len(batch) < size and not broken:
        try:
            batch.append(next(frames))
        except StopIteration:
            break
        except Exception as error:  # whatever it is, it is raised again once these frames are done
            broken.append(error)
    return batch
