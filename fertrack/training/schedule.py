"""Learning rate and draws as functions of the step's number, so that a run resumes exactly."""

from __future__ import annotations

import math

import numpy as np

from fertrack.training.config import ScheduleConfig
from fertrack.types import FloatArray, IntArray

__all__ = ["draw_rows", "learning_rate", "step_generator"]


def learning_rate(step: int, steps: int, steps_per_epoch: int, config: ScheduleConfig) -> float:
    """Learning rate of one step: up in a line, level (or falling in steps), down to 0 along half a cosine.

    Level for most of the run, the same start serves runs of several lengths (Zhai et al. 2022, arXiv 2106.04560).

    Args:
        step: from 0.
        steps: of the whole run.
        steps_per_epoch: steps of an epoch.
        config: peak, warm-up, steps and share of the decay.
    """
    peak = config.learning_rate
    if config.step_epochs:
        peak *= config.step_factor ** (step // (config.step_epochs * steps_per_epoch))
    warmup = config.warmup_epochs * steps_per_epoch
    if step < warmup:
        return peak * (step + 1) / warmup
    decay = config.decay_share * steps
    past = step - (steps - decay)
    if past <= 0 or not decay:
        return peak
    return peak * 0.5 * (1 + math.cos(math.pi * past / decay))


def step_generator(seed: int, step: int) -> np.random.Generator:
    """The chance of one step: the same whenever it is taken."""
    return np.random.default_rng((seed, step))


def draw_rows(probabilities: FloatArray, count: int, rng: np.random.Generator) -> IntArray:
    """Rows of a batch, drawn with replacement; int64 (count,)."""
    return np.asarray(rng.choice(len(probabilities), count, p=probabilities), np.int64)
