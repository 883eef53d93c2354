"""Models that turn scores into probabilities, and which of them a recipe's engines get."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paqa.config.recipe import HearConfig, HearConfigs, Recipe, SourceConfig
from paqa.perception import calibration as calibrations
from paqa.perception import engine_runs
from paqa.perception.calibration import (
    FEATURES,
    CalibratedEngine,
    Calibration,
    Kind,
    LogisticModel,
    encoded,
    engines,
    for_recipe,
    keep,
    store_key,
)
from paqa.storage.store import Store, key

RECIPE = Recipe("any", (SourceConfig("talks", "folder", "talks"),))
MODEL = LogisticModel(("is /m/0bt9lr", "length", "score"), (-1.5, 0.25, 2.0), 0.5, examples=40, right=31)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)
PACKAGED = sorted(f.name for f in (resources.files("paqa") / calibrations.FOLDER).iterdir() if f.is_file())
FILES = [name for name in PACKAGED if name.endswith(".json")]


def calibration(recipe: Recipe = RECIPE, material: str = "tests") -> Calibration:
    return Calibration(engines(recipe), dict.fromkeys(get_args(Kind), MODEL), material, FEATURES)


def hearing(**stages: HearConfig) -> Recipe:
    return replace(RECIPE, hear=HearConfigs(**stages))


def test_a_probability_is_that_of_the_logistic_function() -> None:
    values = {"score": 0.75, "length": -2.0}
    assert MODEL.probability(values) == pytest.approx(1 / (1 + math.exp(-(0.5 - 2.0 * 0.25 + 2.0 * 0.75))))
    assert MODEL.probability(values) == pytest.approx(0.817574, abs=1e-6)
    dog = values | {"is /m/0bt9lr": 1.5}
    assert MODEL.probability(dog) == pytest.approx(1 / (1 + math.exp(-(1.5 - 2.25))))
    assert LogisticModel((), (), 0.0).probability({}) == 0.5


def test_a_missing_indicator_is_zero_and_a_missing_feature_an_error() -> None:
    values = {"score": 0.75, "length": -2.0}
    assert MODEL.probability(values) == MODEL.probability(values | {"is /m/0bt9lr": 0.0})
    assert MODEL.probability(values) == MODEL.probability(values | {"is /m/06mb1": 1.5, "other": 9.0})
    with pytest.raises(KeyError, match="score"):
        MODEL.probability({"length": 1.0})


def test_as_many_weights_as_features() -> None:
    with pytest.raises(ValueError):
        LogisticModel(("score",), (), 0.0).probability({"score": 1.0})


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=4), NUMBERS)
def test_probabilities_are_in_their_range_however_extreme(
    pairs: list[tuple[float, float]], at: float
) -> None:
    names = tuple(f"f{i}" for i in range(len(pairs)))
    model = LogisticModel(names, tuple(weight for weight, _ in pairs), at)
    values = {name: value for name, (_, value) in zip(names, pairs, strict=True)}
    assert 0.0 <= model.probability(values) <= 1.0


@pytest.mark.parametrize("logit", [1e3, 1e308, math.inf])
def test_extreme_log_odds_do_not_overflow(logit: float) -> None:
    assert LogisticModel((), (), logit).probability({}) == pytest.approx(1.0, abs=1e-12)
    assert LogisticModel((), (), -logit).probability({}) == pytest.approx(0.0, abs=1e-12)


def test_json_of_a_calibration_reads_back_equal() -> None:
    fitted = calibration()
    data = encoded(fitted)
    assert msgspec.json.decode(data, type=Calibration) == fitted
    assert data.endswith(b"}\n")
    broken = data.replace(b'"word"', b'"letter"')
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(broken, type=Calibration)


@pytest.fixture
def packaged(monkeypatch: pytest.MonkeyPatch) -> Calibration:
    """What the package has for the engines of RECIPE."""
    fitted = calibration(material="the package's")
    monkeypatch.setattr(calibrations, "packaged", lambda: {fitted.engines: fitted})
    return fitted


def test_the_users_own_goes_before_the_packages(tmp_path: Path, packaged: Calibration) -> None:
    store = Store(tmp_path)
    assert for_recipe(RECIPE, store) == packaged
    mine = calibration(material="mine")
    keep(mine, store)
    assert for_recipe(RECIPE, store) == mine
    assert for_recipe(RECIPE, Store(tmp_path)) == mine  # as another process finds it
    assert for_recipe(RECIPE, Store(tmp_path / "other")) == packaged
    later = calibration(material="mine, again")
    keep(later, store)
    assert for_recipe(RECIPE, store) == later


def test_what_is_asked_does_not_change_the_calibration(tmp_path: Path, packaged: Calibration) -> None:
    questions, gates = replace(RECIPE.questions, per_clip=3), replace(RECIPE.gates, min_confidence=0.5)
    other = replace(RECIPE, name="other", seed=7, questions=questions, gates=gates)
    assert for_recipe(other, Store(tmp_path)) == packaged


OTHERS = {
    "a threshold": hearing(diarize=HearConfig(params={"apart": 0.5})),
    "a stem": hearing(tag=HearConfig(stem="mix")),
    "an engine": hearing(diarize=HearConfig(engine="silero_dvector")),
}


@pytest.mark.parametrize("change", OTHERS)
def test_other_engines_stems_and_parameters_have_none(
    change: str, tmp_path: Path, packaged: Calibration
) -> None:
    store = Store(tmp_path)
    keep(calibration(material="mine"), store)
    assert engines(OTHERS[change]) != engines(RECIPE)
    assert for_recipe(OTHERS[change], store) is None


def test_another_revision_has_none(
    tmp_path: Path, packaged: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrations, "identity", lambda *run: ("next", engine_runs.identity(*run)[1]))
    assert for_recipe(RECIPE, Store(tmp_path)) is None


def test_one_fitted_on_other_features_does_not_apply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older paqa's, in the user's store or in a file: its models name features that are gone."""
    keep(calibration(), Store(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(calibrations, "FEATURES", FEATURES + 1)
        calibrations.packaged.cache_clear()
        calibrations._for_engines.cache_clear()
        assert for_recipe(RECIPE, Store(tmp_path)) is None
        assert calibrations.packaged() == {}
    calibrations.packaged.cache_clear()
    calibrations._for_engines.cache_clear()
    assert for_recipe(RECIPE, Store(tmp_path)) == calibration()


def test_engines_are_those_of_the_stages() -> None:
    named = engines(RECIPE)
    assert [e.stage for e in named] == ["separate", "diarize", "tag", "transcribe"]
    assert [e.engine for e in named] == [RECIPE.stage_config(e.stage).engine for e in named]
    assert [e.stem for e in named] == ["mix", "mix", "background", "mix"]
    assert all(e.revision and msgspec.json.decode(e.parameters) is not None for e in named)
    assert store_key(named) == key("calibration", FEATURES, named)
    assert store_key(named) != store_key((*named[:3], CalibratedEngine("transcribe", "mix", "x", "1", "{}")))


def test_the_package_has_nothing_but_calibrations() -> None:
    assert set(PACKAGED) - set(FILES) == {"README.md"}
    calibrations.packaged.cache_clear()
    assert len(calibrations.packaged()) == len(FILES)  # no two for the same engines


@pytest.mark.parametrize("name", FILES)
def test_packaged_calibrations_are_whole(name: str) -> None:
    data = (resources.files("paqa") / calibrations.FOLDER / name).read_bytes()
    fitted = msgspec.json.decode(data, type=Calibration)
    assert encoded(fitted) == data
    assert set(fitted.models) == set(get_args(Kind))
    assert fitted.material
    for kind, model in fitted.models.items():
        assert len(model.features) == len(model.weights), kind
        assert 0 < model.right < model.examples, kind
        assert all(map(math.isfinite, (*model.weights, model.intercept))), kind


@pytest.mark.xfail(not FILES, reason="embedded.json is not in paqa/data/calibration yet", strict=False)
def test_the_embedded_engines_have_a_packaged_calibration(tmp_path: Path) -> None:
    fitted = for_recipe(RECIPE, Store(tmp_path))
    assert fitted is not None
    assert fitted.engines == engines(RECIPE)
