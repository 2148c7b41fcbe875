"""``fertrack models train`` without the command line: configuration in, bundle or checkpoint out."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fertrack.detectors.centerface import Options, build
from fertrack.errors import ConfigError, MissingExtraError, ModelError, reason_of
from fertrack.models.bundle import BUNDLE_FILE, load_bundle
from fertrack.training.config import MIN_TO_CALIBRATE, NetworkConfig, TrainConfig
from fertrack.training.curves import write_curves
from fertrack.training.mixture import load_sources
from fertrack.training.recipe import BUNDLE, load_recipe
from fertrack.training.teachers import WatchingTeachers, taught
from fertrack.training.views import view_of
from fertrack.types import EXPRESSIONS

if TYPE_CHECKING:
    from fertrack.training.loop import EpochReport

__all__ = ["train_classifier"]


def train_classifier(
    config_path: Path,
    folder: Path | None = None,
    epochs_now: int | None = None,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Run a training configuration, or go on with it.

    Args:
        config_path: TOML file.
        folder: of the run; by default ``fertrack-out/training/<name>``.
        epochs_now: stop after so many epochs; None: at the end.
        say: told a line per epoch.

    Returns:
        The bundle's folder if the run is complete, else the run's folder.

    Raises:
        MissingExtraError: PyTorch, or the package that writes the bundle, is not installed.
        ConfigError: the configuration or the images are missing or wrong.
        WeightsError: the weights that the run begins with cannot be read.
        EvaluationError: a labelled set cannot be read.
        ModelError: the folder holds a run of another configuration, or what the run begins or ends with is not there.
    """
    stages = load_recipe(config_path, folder)
    writers = {"onnxscript" if isinstance(config.network, NetworkConfig) else "safetensors" for config, _ in stages}
    missing = [name for name in ("torch", *sorted(writers)) if find_spec(name) is None]
    if missing:  # told before hours of training, not at its end
        raise MissingExtraError(f"training needs {' and '.join(missing)}", "train")
    path = Path()
    for number, (config, at) in enumerate(stages, start=1):
        if len(stages) > 1:
            say(f"stage {number} of {len(stages)}: {config.name}")
        path = at / BUNDLE if len(stages) > 1 and _is_done(config, at) else _train(config, at, epochs_now, say)
        if path != at / BUNDLE:
            return path
    return path


def _is_done(config: TrainConfig, folder: Path) -> bool:
    """Whether a stage has ended and was of this very configuration; one of another is refused when it is trained."""
    from fertrack.training.checkpoint import CHECKPOINT, saved_config

    if not ((folder / BUNDLE / BUNDLE_FILE).is_file() and (folder / CHECKPOINT).is_file()):
        return False
    return saved_config(folder) == config


def _train(config: TrainConfig, folder: Path, epochs_now: int | None, say: Callable[[str], None]) -> Path:
    from fertrack.training.calibrate_logits import calibrate_logits, class_shares, with_calibrated_logits
    from fertrack.training.checkpoint import CHECKPOINT
    from fertrack.training.finish import mean_network, write_bundle
    from fertrack.training.loop import LOG, Trainer, logits_of

    _check_terms(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the run's folder {folder} cannot be made: {reason_of(error)}") from error
    view = view_of(config)
    # The images are faces already: what is asked of the detector are landmarks, so it may be unsure.
    detector = build(Options(long_side=224, score_threshold=0.1, precision="fp32"))
    learned, kept = load_sources(config.data, detector, folder.parent, colour=view.colour)
    if config.finish.calibrate and len(kept) < MIN_TO_CALIBRATE:
        raise ConfigError(
            f"finish.calibrate needs {MIN_TO_CALIBRATE} pictures kept apart, and there are {len(kept)}: raise apart of "
            "data.sources"
        )
    absent = [name for name in config.finish.average_with if not (Path(name) / CHECKPOINT).is_file()]
    if absent:
        raise ModelError(f"finish.average_with: {absent[0]} holds no training run: train that one first")
    unseen = [name for name, share in zip(EXPRESSIONS, learned.class_shares(0.0), strict=True) if not share]
    if unseen:
        raise ConfigError(
            f"the pictures to learn from show no {', no '.join(unseen)}: all seven expressions are needed"
        )
    teachers = [load_bundle(name) for name in config.teacher.bundles]
    prior, watching = learned.class_shares(config.data.balance), None
    if teachers and config.teacher.view == "same":
        watching = WatchingTeachers(teachers, prior, view.template)
    else:
        learned = taught(learned, teachers, config.teacher.share, prior)
    trainer = Trainer(config, learned, kept, folder, watching)
    say(f"{len(learned)} pictures, {len(kept)} kept apart, {config.schedule.epochs} epochs; saved in {folder}")
    if config.start and not trainer.step and len(kept):
        accuracy, recall = trainer.validation()
        say(f"what it begins with, kept apart: accuracy {accuracy:.3f}, mean class recall {recall:.3f}")
    done = 0

    def after(report: EpochReport) -> None:
        nonlocal done
        done += 1
        write_curves(folder / LOG)
        say(
            f"epoch {report.epoch}: loss {report.loss:.3f}, kept apart: accuracy {report.accuracy:.3f}, "
            f"mean class recall {report.mean_class_recall:.3f}, {report.seconds:.0f} s"
        )

    if not trainer.run(on_epoch=after, stop=lambda: done == epochs_now):
        say("not complete: the same command goes on from here")
        return folder
    network = mean_network(trainer.averaged, config.finish.average_with)
    if not config.finish.calibrate:
        return write_bundle(network, config, trainer.training_prior, folder / BUNDLE)
    logits = logits_of(network, kept, view)
    calibration = calibrate_logits(
        logits, kept.labels, trainer.training_prior, class_shares(learned.labels), kept.chances
    )
    say(f"calibrated on the {len(kept)} pictures kept apart: logits divided by {calibration.temperature:.3f}")
    network = with_calibrated_logits(network, calibration)
    fitted_on = f"{len(kept)} of the training pictures, kept apart"
    return write_bundle(network, config, calibration.prior, folder / BUNDLE, fitted_on=fitted_on)


def _check_terms(config: TrainConfig) -> None:
    """Refuse weights for everybody that begin with weights for research only."""
    from fertrack.training.from_bundle import is_bundle

    if (
        config.release != "research"
        and is_bundle(config.start)
        and load_bundle(config.start).card.release == "research"
    ):
        raise ConfigError(
            f"start: {config.start} has learned from images for research only: set release to research, or begin with "
            "another classifier (it may be a teacher)"
        )
