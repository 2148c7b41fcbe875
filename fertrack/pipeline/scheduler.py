"""Scheduling of inference. Whatever the schedule, results come out in frame order and are the same."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from fertrack.pipeline.analyzer import FaceAnalyzer
from fertrack.pipeline.config import EngineConfig
from fertrack.types import Frame, FrameFaces

__all__ = ["analyse_at_once", "analyse_in_order", "available_cores"]


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
