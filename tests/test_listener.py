"""A small language model guesses from the text alone, as an option of the shortcut gate."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from closeness import steps

from paqa.config.recipe import GatesConfig
from paqa.curation import shortcut_lm, shortcuts
from paqa.curation.shortcut_classifiers import Text
from paqa.errors import PaqaError

FACTS = [
    ("What is the capital of France?", ("Banana", "Paris", "Seven", "Green"), 1),
    ("How many legs does a dog have?", ("Four", "Paris", "Blue", "Tuesday"), 0),
    ("What is the opposite of hot?", ("Table", "Running", "Cold", "London"), 2),
    ("What colour is the sky on a clear day?", ("Three", "Wooden", "Slow", "Blue"), 3),
]


def rows(copies: int = 1) -> list[Text]:
    return [
        Text(f"r{n}-{i}", f"c{n}-{i}", (f"g{n}-{i}",), "fact", question, choices, at)
        for n in range(copies)
        for i, (question, choices, at) in enumerate(FACTS)
    ]


@pytest.fixture(scope="module")
def packaged() -> str:
    try:
        shortcut_lm.packaged()
    except PaqaError as error:
        pytest.skip(str(error))
    if importlib.util.find_spec("gguf") is None or importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers and gguf are not installed")
    return shortcut_lm.PACKAGED


@pytest.mark.slow
def test_what_everybody_knows_is_no_question_about_the_audio(packaged: str) -> None:
    probabilities = shortcut_lm.choice_probabilities(rows(), packaged)
    assert all(sum(p) == pytest.approx(1) for p in probabilities.values())
    assert [max(range(4), key=p.__getitem__) for p in probabilities.values()] == [at for *_, at in FACTS]
    few = shortcut_lm.choice_probabilities(rows()[1:2], packaged)  # a row's score does not hang on its batch
    both = (np.array(x["r0-1"], np.float32) for x in (few, probabilities))
    assert steps(*both) < 120  # seen: 11
    scored = shortcuts.measure(rows(), 3.0, lm_probabilities=probabilities)
    assert scored.report.guessers["listener"].accuracy == 1.0
    assert all(dependence < 0.8 for dependence in scored.dependence.values())


@pytest.mark.slow
def test_a_recipe_names_the_listener(packaged: str) -> None:
    thinned = shortcuts.thin(rows(), GatesConfig(listener=packaged, thin=0.0, min_audio_dependence=0.9))
    assert set(thinned.below) == {row.id for row in rows()}


def test_a_listener_that_is_sure_and_wrong_takes_no_dependence_away() -> None:
    probabilities = {
        row.id: [0.97 if k == (row.answer_index + 1) % 4 else 0.01 for k in range(4)] for row in rows(50)
    }
    assert (
        shortcuts.measure(rows(50), 3.0, lm_probabilities=probabilities).dependence
        == shortcuts.measure(rows(50), 3.0).dependence
    )


@pytest.mark.parametrize("model", ["/nowhere/at/all", "nobody/nothing"])
def test_a_listener_that_is_not_there(model: str, packaged: str) -> None:
    with pytest.raises(PaqaError, match=r"gates.listener = '.*': no language model .*uv pip install"):
        shortcut_lm.choice_probabilities(rows(), model)
