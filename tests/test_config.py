"""Settings: layers, presets, and errors that name the place and what was meant."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from fertrack.config import Settings, digest, load_settings, presets, to_toml
from fertrack.errors import ConfigError
from fertrack.training.recipe import load_recipe


def test_later_layers_win(tmp_path: Path) -> None:
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text("[tracking]\nmax_age = 11\nmin_hits = 4\n")
    second.write_text("[tracking]\nmax_age = 12\n")
    settings = load_settings([first, second], ["tracking.min_hits=5", "detection.name=yunet"])
    assert (settings.tracking.max_age, settings.tracking.min_hits) == (12, 5)
    assert settings.detection.name == "yunet"


@pytest.mark.parametrize("name", sorted(presets()))
def test_every_preset_is_valid_and_survives_a_round_trip(name: str) -> None:
    settings = load_settings([name])
    assert load_settings(base=to_toml(settings)) == settings
    assert load_settings(base=to_toml(settings, comments=True)) == settings


def test_presets_are_not_the_defaults() -> None:
    assert {"default", "fast", "accurate", "rafdb"} <= set(presets())
    for name in ("fast", "accurate", "rafdb"):
        assert load_settings([name]) != Settings()


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("tracking.maxage=3", r"--set tracking\.maxage=3: unknown option 'tracking\.maxage'; did you mean 'max_age'\?"),
        ("trackin.max_age=3", r"unknown table 'trackin'; did you mean 'tracking'\?"),
        ("tracking.max_age=-3", r"--set tracking\.max_age=-3: .*greater than or equal"),
        ("tracking.max_age=often", r"--set tracking\.max_age=often: .*valid integer"),
        ("max_age=3", r"not of the form section\.key=value"),
        ("tracking.max_age", r"not of the form section\.key=value"),
    ],
)
def test_a_bad_override_is_one_sentence_that_names_it(override: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_settings([], [override])


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    broken, unknown = tmp_path / "broken.toml", tmp_path / "unknown.toml"
    broken.write_text("[tracking\n")
    unknown.write_text("[smoothing]\nhalflife_s = 1.0\n")
    with pytest.raises(ConfigError, match=r"broken\.toml cannot be read as TOML"):
        load_settings([broken])
    with pytest.raises(ConfigError, match=r"unknown\.toml: unknown option 'smoothing\.halflife_s'; did you mean"):
        load_settings([unknown])
    with pytest.raises(ConfigError, match=r"no config file 'fastt'.*did you mean 'fast'\?"):
        load_settings(["fastt"])


def test_deeply_nested_toml_is_refused_with_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(f"a = {'[' * 5000}{']' * 5000}")
    with pytest.raises(ConfigError, match=r"deep\.toml cannot be read as TOML: "):
        load_settings([path])
    with pytest.raises(ConfigError, match=r"deep\.toml cannot be read as a training configuration: "):
        load_recipe(path)


def test_a_flag_is_named_as_it_was_typed_and_a_file_by_its_option(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[input]\nrate_hz = -5\n")
    with pytest.raises(ConfigError, match=r"^--rate -5: input should be greater than 0$"):
        load_settings([], [], flags={"input.rate_hz": ("--rate", -5)})
    with pytest.raises(ConfigError, match=r"wrong\.toml: input\.rate_hz = -5: input should be greater than 0"):
        load_settings([wrong])
    assert load_settings([], ["input.rate_hz=2"], flags={"input.rate_hz": ("--rate", 4.0)}).input.rate_hz == 4.0


def test_the_digest_covers_what_can_change_a_row_and_nothing_else() -> None:
    same = load_settings([], ["engine.workers=7", "video.crf=30", "storage.url=/elsewhere.db"])
    assert digest(same) == digest(Settings())
    assert digest(load_settings([], ["smoothing.half_life_s=0.9"])) != digest(Settings())


def test_text_values_need_no_quotes() -> None:
    assert load_settings([], ["storage.url=results/a.db"]).storage.url == "results/a.db"
    assert load_settings([], ['storage.url="results/a.db"']).storage.url == "results/a.db"


EARLIER = """
[input]
{input}
[calibration]
use_bias = true
{calibration}
fitted_on = "faces/"
data_sha256 = "ab"

[smoothing]
half_life_s = 0.0
alpha = {alpha}
reference_fps = 25.0
ema_past_weight = {past}
"""


@pytest.mark.parametrize(
    ("alpha", "past", "rate", "half_life_s"),
    [
        (0.0, 0.0, "", 0.0),
        (0.3, 0.0, "", -math.log(2) / math.log(0.7) / 25),
        (1.0, 0.0, "", 0.0),
        (1e-9, 0.0, "", 60.0),
        (0.0, 0.5, "", 1 / 30),
        (0.0, 0.25, "rate_hz = 10.0", 0.05),
    ],
)
def test_a_run_of_an_earlier_version_is_smoothed_as_it_was(
    alpha: float, past: float, rate: str, half_life_s: float
) -> None:
    toml = EARLIER.format(input=rate, calibration="", alpha=alpha, past=past)
    assert load_settings(base=toml).smoothing.half_life_s == pytest.approx(half_life_s)


@pytest.mark.parametrize(
    ("given", "bias", "profile"),
    [
        ("", None, None),
        ("boost = {}\npenalty = {}", None, None),
        ("boost = {fear = 1.0}\npenalty = {anger = 1.0}", None, None),
        ("boost = {fear = 3.0}\npenalty = {anger = 2.0}", None, {"fear": math.log(3), "anger": -math.log(2)}),
        ("boost = {fear = 3.0}\nbias_profile = {fear = 0.5}", None, {"fear": math.log(3) + 0.5}),
        ("boost = {fear = 4.0}\npenalty = {fear = 2.0}\nbias = {fear = 1.0}", {"fear": math.log(2) + 1.0}, None),
    ],
)
def test_boosts_and_penalties_of_an_earlier_run_become_its_bias(
    given: str, bias: dict[str, float] | None, profile: dict[str, float] | None
) -> None:
    calibration = load_settings(base=EARLIER.format(input="", calibration=given, alpha=0, past=0)).calibration
    assert calibration.bias == (pytest.approx(bias) if bias else bias)
    assert calibration.bias_profile == (pytest.approx(profile) if profile else profile)


def test_options_that_are_gone_are_refused_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "old.toml").write_text("[calibration]\nboost = {fear = 2.0}\n")
    with pytest.raises(ConfigError, match=r"old.toml: unknown option 'calibration.boost'"):
        load_settings([tmp_path / "old.toml"])
