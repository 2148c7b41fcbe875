"""``fertrack train`` without the command line: configuration in, bundle or checkpoint out."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fertrack.detectors.centerface import Options, build
from fertrack.errors import ConfigError, MissingExtraError, ModelError, reason_of
from fertrack.models.bundle import load_bundle
from fertrack.training.config import NetworkConfig, load_train_config
from fertrack.training.curves import write_curves
from fertrack.training.pictures import load_pictures
from fertrack.training.teachers import WatchingTeachers, taught
from fertrack.training.views import view_of
from fertrack.types import EXPRESSIONS

if TYPE_CHECKING:
    from fertrack.training.loop import EpochReport

__all__ = ["train_classifier"]

_FOLDER = Path("fertrack-out/training")


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
        ConfigError: the configuration or the pictures are missing or wrong.
        WeightsError: the weights that the run begins with cannot be read.
        EvaluationError: a labelled set cannot be read.
        ModelError: the folder holds a run of another configuration, or what the run begins or ends with is not there.
    """
    config = load_train_config(config_path)
    writer = "onnxscript" if isinstance(config.network, NetworkConfig) else "safetensors"
    missing = [name for name in ("torch", writer) if find_spec(name) is None]
    if missing:  # told before hours of training, not at its end
        raise MissingExtraError(f"training needs {' and '.join(missing)}", "train")
    from fertrack.training.checkpoint import CHECKPOINT
    from fertrack.training.finish import mean_network, write_bundle
    from fertrack.training.loop import LOG, Trainer, logits_of
    from fertrack.training.settle import class_shares, settle, settled

    folder = folder or _FOLDER / config.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the run's folder {folder} cannot be made: {reason_of(error)}") from error
    view = view_of(config)
    # The pictures are faces already: what is asked of the detector are landmarks, so it may be unsure.
    detector = build(Options(long_side=224, score_threshold=0.1, precision="fp32"))
    learned, kept = load_pictures(config.data, detector, folder.parent, colour=view.colour)
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
        return write_bundle(network, config, trainer.training_prior, folder / "bundle")
    logits = logits_of(network, kept, view)
    settlement = settle(logits, kept.labels, trainer.training_prior, class_shares(learned.labels))
    say(f"calibrated on the {len(kept)} pictures kept apart: logits divided by {settlement.temperature:.3f}")
    network = settled(network, settlement)
    fitted_on = f"{len(kept)} of the training pictures, kept apart"
    return write_bundle(network, config, settlement.prior, folder / "bundle", fitted_on=fitted_on)
