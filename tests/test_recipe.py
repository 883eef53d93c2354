"""One TOML file, one build; every mistake is named."""

import msgspec
import pytest

from paqa.config.recipe import converted, decode_recipe
from paqa.errors import PaqaError
from paqa.pipeline.recipe_files import change, for_folder, load
from paqa.questions.generate import config_for
from paqa.sources.questions import QuestionsParams
from paqa.storage.store import key

BASE = """
name = "x"
[[sources]]
name = "a"
type = "folder"
path = "."
"""
MATERIAL = BASE + 'use = "material"\n'


def write(tmp_path, text):
    path = tmp_path / "r.toml"
    path.write_text(text)
    return path


def test_defaults_come_from_the_profile(tmp_path):
    recipe = load(write(tmp_path, BASE))
    assert recipe.stage_config("transcribe").align == "speech"
    assert recipe.folder == str(tmp_path)


def test_an_override_keeps_the_rest_of_the_stage(tmp_path):
    recipe = load(write(tmp_path, BASE + '[hear.transcribe]\nstem = "speech"\n'))
    assert recipe.stage_config("transcribe").stem == "speech"
    assert recipe.stage_config("transcribe").engine == "faster_whisper"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", ["r.toml", "TOML"]),
        (BASE + "colour = 1", ["r.toml", "colour"]),
        (BASE + '[[mix]]\nname = "m"\nscenes = 2\nspeech = "b"', ["mix.m.speech", "'b'", "known: a"]),
        (BASE + '[[mix]]\nname = "m"\nscenes = 2', ["mix.m", "speech", "background"]),
        (
            MATERIAL + '[[mix]]\nname = "m"\nscenes = 2\nspeech = "a"\nsnr_db = [9, 2]',
            ["snr_db", "[9.0, 2.0]"],
        ),
        (BASE + '[[mix]]\nname = "m"\nscenes = 2\nspeech = "a"', ["mix.m.speech", 'use = "material"']),
        (MATERIAL + '[[mix]]\nname = "m"\nscenes = 2\nbackground = "a"\nsounds = [0, 2]', ["mix.m.sounds"]),
        (
            MATERIAL + '[[mix]]\nname = "m"\nscenes = 2\nspeech = ["a", "b"]',
            ["mix.m.speech", "'b'", "known: a"],
        ),
        (
            MATERIAL + '[[mix]]\nname = "m"\nscenes = 2\nspeech = ["a"]\nbed = 0.5',
            ["mix.m.bed", "background"],
        ),
        (MATERIAL.replace("folder", "folders"), ["'a'", "'folders'", "expected one of folder, jsonl"]),
        (MATERIAL + "params = { deep = true }", ["'a'", "folder has no 'deep'", "known: none"]),
        (BASE + 'tasks = ["singing"]', ["a.tasks", "'singing'", "emotion"]),
        (BASE + '[hear.separate]\nstem = "speech"', ["hear.separate.stem"]),
        (BASE + '[questions]\nskip = ["who_sings"]', ["questions.skip", "'who_sings'", "who_says"]),
        (BASE + '[hear.tag]\nalign = "mix"', ["hear.tag.align"]),
        ("seed = 1.5" + BASE, ["seed", "1.5"]),
        (BASE + BASE.replace('name = "x"', ""), ["two sources", "'a'"]),
        (BASE + "[split]\ntest = 0.7\nvalidation = 0.6", ["split"]),
        (BASE + '[hear.tag]\nengine = "ears"', ["unknown engine 'ears'", "yamnet"]),
        (BASE + '[hear.tag]\nengine = "faster_whisper"', ["hear.tag.engine", "transcribe"]),
        (BASE + "[hear.transcribe.params]\nbeams = 3", ["hear.transcribe.params", "'beams'", "beam_size"]),
        (BASE + '[hear.transcribe.params]\nbeam_size = "five"', ["hear.transcribe.params", "beam_size"]),
    ],
)
def test_mistakes_are_named(tmp_path, text, words):
    with pytest.raises(PaqaError) as error:
        load(write(tmp_path, text))
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_recipe_names_the_next_command(tmp_path):
    with pytest.raises(PaqaError, match="paqa build --audio"):
        load(tmp_path / "no.toml")


def test_changes_from_the_command_line(tmp_path):
    recipe = change(for_folder(tmp_path), ["questions.per_clip=3", "hear.transcribe.stem=speech", "seed=7"])
    assert (recipe.questions.per_clip, recipe.stage_config("transcribe").stem, recipe.seed) == (
        3,
        "speech",
        7,
    )
    assert recipe.folder == str(tmp_path)
    for nonsense in ("questions", "name.a=1", "mix.0.scenes=5", "sources.x=1", "seed=1.5"):
        with pytest.raises(PaqaError, match=r"--set"):
            change(for_folder(tmp_path), [nonsense])
    with pytest.raises(PaqaError, match=r"per_clp.*per_clip"):
        change(for_folder(tmp_path), ["questions.per_clp=3"])


def test_a_corpus_may_be_asked_about_some_things_only(tmp_path):
    recipe = load(write(tmp_path, BASE + 'tasks = ["sounds"]\n[questions]\nskip = ["absent_sound"]'))
    skipped = config_for(recipe, "a").skip
    assert {"absent_sound", "who_says"} < set(skipped)
    assert "background_sound" not in skipped
    assert config_for(recipe, "another") == recipe.questions


def test_a_default_that_is_spelled_out_changes_nothing(tmp_path):
    """Neither what a build keeps of its recipe, nor a store key."""
    plain, spelled = tmp_path / "plain.toml", tmp_path / "spelled.toml"
    head = 'name = "r"\n[[sources]]\nname = "s"\ntype = "folder"\npath = "."\n'
    plain.write_text(head)
    spelled.write_text(head + "[gates]\nmin_score = 0.3\n[hear.tag]\nparams = {}\n")
    kept = [msgspec.json.encode(load(path)) for path in (plain, spelled)]
    assert kept[0] == kept[1]
    assert b'"min_confidence":0.9' in kept[0]
    assert key(load(plain).gates) == key(load(spelled).gates)
    assert (
        msgspec.json.encode(decode_recipe(b'{"name":"r","sources":[],"gates":{}}')).count(b"min_margin") == 1
    )
    changed = change(load(plain), ["gates.min_score=0.3"])
    assert msgspec.json.encode(changed) == kept[0]


def test_parameters_of_a_source_have_all_their_defaults():
    given = converted(QuestionsParams, {"task": "given"}, "params")
    assert msgspec.json.encode(given) == msgspec.json.encode(QuestionsParams())
