"""`--set` reaches sources and mixes by their names."""

import pytest

from paqa.config.recipe import MixConfig, Recipe, SourceConfig
from paqa.errors import PaqaError
from paqa.pipeline.recipe_files import change

RECIPE = Recipe(
    "x",
    (SourceConfig("voices", "folder", "a", use="material"), SourceConfig("v1.2", "folder", "b")),
    mix=(MixConfig("dialogue", 100, speech="voices"),),
)


def test_sources_and_mixes_are_reached_by_name():
    changes = ["sources.voices.path=/data/voices", "sources.v1.2.limit=9", "mix.dialogue.scenes=3"]
    changed = change(RECIPE, changes)
    assert [s.path for s in changed.sources] == ["/data/voices", "b"]
    assert [s.limit for s in changed.sources] == [None, 9]
    assert changed.mix[0].scenes == 3
    assert change(RECIPE, ["mix.dialogue.snr_db=[1, 2]"]).mix[0].snr_db == (1, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "sources.voice.path=x",
            "--set sources.voice.path=x: found no 'voice' there, expected one of voices, v1.2",
        ),
        ("mix.other.scenes=3", "found no 'other' there, expected one of dialogue"),
        ("gates.benchmarks.MMAU.audio=x", "found no 'MMAU' there, expected one of none"),
        ("sources.voices.pth=x", "pth"),
        ("sources.voices=x", "expected KEY=VALUE with a key of a table"),
        ("mix.dialogue.scenes=0", "scenes"),
    ],
)
def test_what_is_not_there_is_named(text, words):
    with pytest.raises(PaqaError) as caught:
        change(RECIPE, [text])
    assert words in str(caught.value)
