"""The training loop: draws, steps, averages, looks at the images kept apart, saves; and goes on where it was."""

from __future__ import annotations

import csv
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fertrack.errors import ConfigError, ModelError
from fertrack.training.augment import augment
from fertrack.training.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from fertrack.training.config import TrainConfig
from fertrack.training.from_bundle import begin_with_bundle, is_bundle
from fertrack.training.images import TrainingImages
from fertrack.training.networks import heads_loss, new_network, new_optimizer
from fertrack.training.schedule import draw_rows, learning_rate, step_generator
from fertrack.training.views import View, view_of
from fertrack.types import EXPRESSIONS, BoolArray, FloatArray, Image, IntArray

__all__ = ["EpochReport", "Trainer", "logits_of", "logits_of_crops"]

logger = logging.getLogger(__name__)

LOG = "log.csv"
_BATCHES_FOR_NORMS = 8
_AT_ONCE, _AT_ONCE_LARGE, _SMALL_PX = 256, 32, 128


@dataclass(frozen=True, slots=True)
class EpochReport:
    """One line of the log. Validation figures are of the averaged weights, on images kept apart."""

    epoch: int
    learning_rate: float
    loss: float
    overlap: float
    accuracy: float
    mean_class_recall: float
    cross_entropy: float
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Input of one step: what the network is given, float32 (B, C, S, S) first, and what it is to say of it.

    Attributes:
        inputs: of the network.
        targets: float32 (B, 7).
        shifts: float32 (B, 7), added to the logits (see ``TrainingImages.shifts``).
    """

    inputs: tuple[Tensor, ...]
    targets: Tensor
    shifts: Tensor


class Trainer:
    """A run, from its configuration and images.

    Args:
        config: the run.
        learned: images to learn from.
        kept: images kept apart.
        folder: where checkpoint and log go; a checkpoint found there is continued.
        teachers: asked about every batch of crops, uint8 (B, S, S) or (B, S, S, 3) BGR, and what is added to their
            logits, float32 (B, 7), to probabilities (B, 7); None: the targets are all.

    Raises:
        ConfigError: PyTorch has no such device here.
        WeightsError: ``network.weights``, or the bundle that ``config.start`` names, cannot be read.
        ModelError: the folder's checkpoint belongs to another configuration, or ``config.start`` to another network.
    """

    def __init__(
        self,
        config: TrainConfig,
        learned: TrainingImages,
        kept: TrainingImages,
        folder: Path,
        teachers: Callable[[Image, FloatArray], FloatArray] | None = None,
    ) -> None:
        self.config = config
        self._teachers = teachers
        self.folder = folder
        self._learned, self._kept = learned, kept
        self._pictures = learned.digest()  # once: of a labelled set it reads every file
        schedule = config.schedule
        self._view = view_of(config)
        if schedule.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("schedule.device: PyTorch finds no CUDA device here; set it to cpu")
        self._chances = learned.draw_probabilities(config.data.balance)
        self.training_prior = learned.class_shares(config.data.balance)
        self.steps_per_epoch = max(1, len(learned) // schedule.batch)
        self.steps = self.steps_per_epoch * schedule.epochs
        resumes = (folder / CHECKPOINT).is_file()
        self.network = new_network(config, resumes=resumes)
        if is_bundle(config.start) and not resumes:
            batches = (self._batch(step).inputs for step in range(_BATCHES_FOR_NORMS))
            begin_with_bundle(self.network, config.start, self.training_prior, batches)
        self._overlap = heads_loss(config)
        self.averaged = deepcopy(self.network)
        for parameter in self.averaged.parameters():
            parameter.requires_grad_(False)
        self._optimizer = new_optimizer(self.network, schedule)
        self.step = 0
        if resumes:
            self._resume()
        self._log_until(self.step // self.steps_per_epoch)

    def run(
        self, *, on_epoch: Callable[[EpochReport], None] | None = None, stop: Callable[[], bool] = lambda: False
    ) -> bool:
        """Train to the end, or until ``stop()`` says so after an epoch. Every epoch is logged and saved.

        Returns:
            Whether the run is complete.
        """
        torch.set_num_threads(self.config.schedule.threads)
        self.folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(1) as ahead:  # the next batch is made while this one is learned
            coming = ahead.submit(self._batch, self.step)
            while self.step < self.steps:
                started, losses, overlaps = time.perf_counter(), [], []
                for _ in range(self.steps_per_epoch - self.step % self.steps_per_epoch):
                    batch = coming.result()
                    coming = ahead.submit(self._batch, self.step + 1)
                    loss, overlap = self._learn(batch)
                    losses.append(loss)
                    overlaps.append(overlap)
                    self.step += 1
                report = self._report(float(np.mean(losses)), float(np.mean(overlaps)), time.perf_counter() - started)
                self._log(report)
                self._save()
                if on_epoch is not None:
                    on_epoch(report)
                if stop():
                    break
        return self.step >= self.steps

    def _batch(self, step: int) -> _Batch:
        """Batch of one step: what is drawn, disturbed, taught and mixed in it depends on the step's number alone."""
        augmentation, schedule, pictures = self.config.augmentation, self.config.schedule, self._learned
        if step >= self.steps * (1 - schedule.calm_share):
            augmentation = augmentation.calmed()
        rng = step_generator(schedule.seed, step)
        rows = draw_rows(self._chances, schedule.batch, rng)
        found = augment(
            pictures.images[rows],
            pictures.landmarks[rows],
            self._view.template,
            self._view.size_px,
            config=augmentation,
            rng=rng,
            cut_outs=None if pictures.cut_out is None else pictures.cut_out[rows],
        )
        inputs, targets = self._view.inputs(found.crops, found.landmarks), pictures.targets[rows]
        shifts = np.zeros_like(targets) if pictures.shifts is None else pictures.shifts[rows]
        mixes = bool(augmentation.mixup) and rng.random() < augmentation.mixed_batches
        if not (mixes and self.config.teacher.mixed_share):
            targets = self._taught(found.crops, targets, shifts, found.halved, self.config.teacher.share)
        if mixes:
            other = rng.permutation(len(rows))
            share = np.float32(rng.beta(augmentation.mixup, augmentation.mixup))
            inputs = tuple(share * values + (1 - share) * values[other] for values in inputs)
            targets = share * targets + (1 - share) * targets[other]
            shifts = share * shifts + (1 - share) * shifts[other]
            if self.config.teacher.mixed_share:
                crops = np.rint(share * found.crops + (1 - share) * found.crops[other]).astype(np.uint8)
                evenly = min(1.0, 4 * float(min(share, 1 - share)))
                theirs = max(self.config.teacher.share, self.config.teacher.mixed_share * evenly)
                targets = self._taught(crops, targets, shifts, found.halved | found.halved[other], theirs)
        return _Batch(tuple(map(torch.from_numpy, inputs)), torch.from_numpy(targets), torch.from_numpy(shifts))

    def _taught(
        self, crops: Image, targets: FloatArray, shifts: FloatArray, only_they_know: BoolArray, share: float
    ) -> FloatArray:
        """Targets of which a share is the teachers', and all of it where no label says what a crop shows."""
        if self._teachers is None:
            return targets
        theirs = np.where(only_they_know, 1.0, share)[:, None].astype(np.float32)
        return np.asarray((1 - theirs) * targets + theirs * self._teachers(crops, shifts), np.float32)

    def _learn(self, batch: _Batch) -> tuple[float, float]:
        schedule = self.config.schedule
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.steps, self.steps_per_epoch, schedule)
        self.network.train()
        torch.manual_seed(schedule.seed * 1_000_003 + self.step)  # dropout, the same whenever this step is taken
        pixels, *others = (values.to(schedule.device) for values in batch.inputs)
        shifts = batch.shifts.to(schedule.device)
        with torch.autocast(schedule.device, torch.bfloat16, enabled=schedule.precision == "bfloat16"):
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            logits, pooled = self.network.with_heads(pixels, *others)
            targets = self._own_part(batch.targets.to(schedule.device), pixels, others, shifts)
        overlap = self._overlap([vectors.float() for vectors in pooled])
        wanted = nn.functional.cross_entropy(logits.float() + shifts, targets, label_smoothing=schedule.label_smoothing)
        loss = wanted + self.config.network.head_weight * overlap
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if schedule.largest_gradient:
            nn.utils.clip_grad_norm_(self.network.parameters(), schedule.largest_gradient)
        self._optimizer.step()
        self._average()
        return float(loss.detach()), float(overlap.detach())

    def _own_part(self, targets: Tensor, pixels: Tensor, others: Sequence[Tensor], shifts: Tensor) -> Tensor:
        """Targets of which a share is what the running mean of the weights says."""
        teacher = self.config.teacher
        if not teacher.own_share or self.step < teacher.own_from * self.steps:
            return targets
        with torch.no_grad():
            said = torch.softmax(self.averaged.eval()(pixels, *others).float() + shifts, dim=1)
        return (1 - teacher.own_share) * targets + teacher.own_share * said

    def _average(self) -> None:
        # Early on the mean is short, so that the first random weights are soon forgotten.
        decay = min(self.config.schedule.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, now in zip(self.averaged.state_dict().values(), self.network.state_dict().values(), strict=True):
                if mean.dtype.is_floating_point:
                    mean.lerp_(now, 1 - decay)
                else:
                    mean.copy_(now)

    def validation_logits(self) -> FloatArray:
        """Logits float32 (N, 7) of the averaged weights on the images kept apart, in one plain pass."""
        return logits_of(self.averaged, self._kept, self._view)

    def validation(self) -> tuple[float, float]:
        """Accuracy and mean class recall of the averaged weights on the images kept apart; NaN without any."""
        return _accuracy_and_recall(self.validation_logits(), self._kept.labels)

    def _report(self, loss: float, overlap: float, seconds: float) -> EpochReport:
        logits, targets = self.validation_logits(), torch.from_numpy(self._kept.targets)
        accuracy, recall = _accuracy_and_recall(logits, self._kept.labels)
        entropy = float(nn.functional.cross_entropy(torch.from_numpy(logits), targets)) if len(logits) else math.nan
        return EpochReport(
            epoch=self.step // self.steps_per_epoch,
            learning_rate=float(self._optimizer.param_groups[0]["lr"]),
            loss=loss,
            overlap=overlap,
            accuracy=accuracy,
            mean_class_recall=recall,
            cross_entropy=entropy,
            seconds=seconds,
        )

    def _log_until(self, epoch: int) -> None:
        """Forget lines of epochs that are yet to come: a run that was killed may have told one that it did not save."""
        path = self.folder / LOG
        if not path.is_file():
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [row for row in lines[1:] if row.split(",")[0].isdigit() and int(row.split(",")[0]) <= epoch]
        if kept:
            path.write_text("".join((lines[0], *kept)), encoding="utf-8")
        else:
            path.unlink()

    def _log(self, report: EpochReport) -> None:
        path = self.folder / LOG
        new = not path.is_file()
        with path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(asdict(report)))
            if new:
                writer.writeheader()
            writer.writerow({key: f"{value:.6g}" for key, value in asdict(report).items()})

    def _save(self) -> None:
        state: dict[str, Any] = {
            "step": self.step,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "pictures": self._pictures,
        }
        save_checkpoint(self.folder, self.config, state)

    def _resume(self) -> None:
        state = load_checkpoint(self.folder, self.config)
        if state.get("pictures", self._pictures) != self._pictures:
            raise ModelError(
                f"{self.folder / CHECKPOINT} was trained with other pictures or labels: train in another folder"
            )
        try:
            self.network.load_state_dict(state["network"])
            self.averaged.load_state_dict(state["averaged"])
            self._optimizer.load_state_dict(state["optimizer"])
            self.step = int(state["step"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise ModelError(
                f"{self.folder / CHECKPOINT} does not fit the configuration: train in another folder, or remove it"
            ) from error
        logger.info("going on at epoch %d", self.step // self.steps_per_epoch)


def _accuracy_and_recall(logits: FloatArray, labels: IntArray) -> tuple[float, float]:
    right = logits.argmax(axis=1) == labels
    recalls = [right[labels == label].mean() for label in range(len(EXPRESSIONS)) if (labels == label).any()]
    return (float(right.mean()), float(np.mean(recalls))) if recalls else (math.nan, math.nan)


def logits_of(network: nn.Module, pictures: TrainingImages, view: View) -> FloatArray:
    """Logits float32 (N, 7) of a network on plain crops of images, some at a time."""
    parts = [np.empty((0, len(EXPRESSIONS)), np.float32)]
    at_once = _AT_ONCE if view.size_px <= _SMALL_PX else _AT_ONCE_LARGE
    for start in range(0, len(pictures), at_once):
        rows = slice(start, start + at_once)
        parts.append(logits_of_crops(network, *view.plain(pictures.images[rows], pictures.landmarks[rows])))
    return np.concatenate(parts)


def logits_of_crops(network: nn.Module, *inputs: FloatArray) -> FloatArray:
    """Logits float32 (N, 7) of a network on normalised crops float32 (N, C, S, S), and landmarks if it takes them."""
    network.eval()
    device = next(network.parameters()).device
    with torch.inference_mode():
        return np.concatenate(
            [
                network(*(torch.from_numpy(part[start : start + _AT_ONCE]).to(device) for part in inputs))
                .float()
                .cpu()
                .numpy()
                for start in range(0, len(inputs[0]), _AT_ONCE)
            ]
        )
