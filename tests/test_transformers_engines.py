"""Engines over `transformers`: the contract on tiny random models, whisper's tiny.en on its real weights."""

import difflib
from dataclasses import replace

import numpy as np
import pytest
import transformers_tiny as tiny
from conftest import ROOT
from contract import Contract, Subject, call, part
from localmodels import make_whisper_hf

from paqa import audioset
from paqa.cli.doctor import engines_to_check
from paqa.engines import _transformers_asr as asr
from paqa.engines._forced_alignment import aligned, best_path
from paqa.engines._transformers import remote_of
from paqa.engines.base import engine_class
from paqa.engines.transformers_asr import cuts
from paqa.engines.transformers_diarizer import TransformersDiarizerParams, powerset, turns_of
from paqa.engines.transformers_tagger import columns_of
from paqa.errors import PaqaError

pytest.importorskip("transformers")
LABELS = [audioset.label(mid) for mid in audioset.classes()]
ASR, DIARIZER, TAGGER = "transformers_asr", "transformers_diarizer", "transformers_tagger"
SUBJECTS = {
    "whisper": (ASR, tiny.whisper, {}),
    "ctc": (ASR, tiny.ctc, {"unsure_below": 0.0}),
    "transducer": (ASR, tiny.parakeet, {}),
    "text": (ASR, tiny.moonshine, {"max_tokens": 8, "most_repeats": 99, "compression_ratio_threshold": 99}),
    "wavlm": (DIARIZER, tiny.diarizer, {}),
    "nemotron": (DIARIZER, tiny.nemotron, {}),
    "ast": (TAGGER, lambda folder: tiny.ast(folder, LABELS), {}),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a tiny model, by name; each is made once."""
    folders = {}

    def make(name):
        if name not in folders:
            folders[name] = SUBJECTS[name][1](tmp_path_factory.mktemp(name) / name)
        return folders[name]

    return make


@pytest.fixture(scope="module", params=SUBJECTS)
def subject(request, made):
    """Other numbers of threads round differently in the last digits of a probability."""
    engine, _, params = SUBJECTS[request.param]
    return Subject(engine, {"model": str(made(request.param)), **params}, tolerance=1000)


class TestContract(Contract):
    """Every kind of model that the engines open."""


# --- whisper tiny.en with its real weights


@pytest.fixture(scope="module")
def tiny_en(tmp_path_factory):
    return make_whisper_hf.make(tmp_path_factory.mktemp("models"))


@pytest.mark.slow
def test_the_call_has_the_words_of_faster_whisper(tiny_en):
    """Both greedy, from the same weights; a word in ten may differ, since windows begin at other times."""
    kind, other = engine_class(ASR), engine_class("faster_whisper")
    greedy = other(other.Params(compute_type="float32", vad_filter=False, beam_size=1, language="en"))
    (ours,), (theirs,) = kind(kind.Params(model=str(tiny_en)))([call()]), greedy([call()])
    one, two = ([w.text.lower().strip(".,") for w in output.words] for output in (ours, theirs))
    blocks = difflib.SequenceMatcher(None, one, two, autojunk=False).get_matching_blocks()
    same = [(ours.words[b.a + i], theirs.words[b.b + i]) for b in blocks for i in range(b.size)]
    assert len(same) >= 0.9 * len(two)
    apart = [abs(a.start_ms - b.start_ms) for a, b in same] + [abs(a.end_ms - b.end_ms) for a, b in same]
    assert np.median(apart) <= 60
    assert np.percentile(apart, 90) <= 300
    assert ours.language == "en"
    assert ours.doubts == ()
    scores = np.array([(a.score, b.score) for a, b in same])
    assert np.corrcoef(scores.T)[0, 1] > 0.5


# --- word times


def pieces(*parts):
    return [asr.Piece(text, start, end, p) for text, start, end, p in parts]


def test_pieces_become_words():
    words = asr.words_of(
        pieces(
            (" He", 0, 0.2, 1.0), ("llo", 0.2, 0.4, 0.5), (".", 0.4, 5, 0.9), (" ", 5, 5, 1), ("you", 6, 9, 1)
        )
    )
    assert [(w.word, w.start, w.end) for w in words] == [(" Hello.", 0, 2), (" you", 7, 9)]
    assert words[0].probability == pytest.approx(0.8)


def test_a_window_ends_at_the_quietest_moment():
    signal = np.ones(1000, np.float32)
    signal[270:290] = 0
    assert cuts(signal, 400, 100)[0] in range(270, 290)
    assert cuts(signal[:300], 400, 100) == [300]
    assert max(np.diff([0, *cuts(signal, 400, 100)])) <= 400


def test_the_best_path_visits_every_target_in_order():
    a, b, blank = 1, 2, 0
    rows = np.full((6, 3), 0.05)
    for frame, token in enumerate((blank, a, a, blank, b, blank)):
        rows[frame, token] = 0.9
    assert best_path(np.log(rows), [a, b], blank) == [(1, 3), (4, 5)]
    assert best_path(np.log(rows[:1]), [a, b], blank) == []


def test_words_of_a_model_without_times_get_those_of_the_aligner(made):
    kind = engine_class(ASR)
    params = {
        "model": str(made("text")),
        "max_tokens": 8,
        "most_repeats": 99,
        "compression_ratio_threshold": 99,
    }
    estimated = kind(kind.Params(**params))
    timed = kind(kind.Params(**params, aligner=str(made("ctc"))))
    (one,), (other,) = estimated([part(14, 18)]), timed([part(14, 18)])
    assert "times estimated from the lengths of words" in one.doubts[-1].second
    assert not any("estimated" in doubt.second for doubt in other.doubts)
    assert [w.text for w in one.words] == [w.text for w in other.words]
    assert timed.identify(timed.params) != estimated.identify(estimated.params)


def test_alignment_finds_what_a_ctc_model_itself_transcribes(made):
    """The times of its own letters, to a frame."""
    kind = engine_class(ASR)
    opened = kind(kind.Params(model=str(made("ctc"))))._opened
    window = part(14, 16).samples[0]
    import torch

    with torch.inference_mode():
        (transcript,) = asr.ctc(opened, [window])
        words = asr.words_of(transcript.pieces)
        aligned_pieces = aligned(opened, [asr.Piece(w.word, 0, 0, 1.0) for w in words], window)
    assert [p.start for p in aligned_pieces] == pytest.approx([w.start for w in words], abs=0.045)


# --- diarization


def test_turns_overlap_and_exclusive_ones_do_not():
    probability = np.zeros((100, 3))
    probability[40:80, 0], probability[10:60, 2] = 0.9, 0.8
    probability[62:64, 1] = 0.9  # too short
    output = turns_of(probability, TransformersDiarizerParams())
    assert [(t.start_ms, t.end_ms, t.speaker) for t in output.turns] == [(100, 600, 1), (400, 800, 2)]
    assert [(t.start_ms, t.end_ms, t.speaker) for t in output.exclusive] == [(100, 400, 1), (400, 800, 2)]


def test_outputs_that_are_sets_of_speakers(tmp_path):
    assert powerset(3, 2).tolist()[:5] == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]
    folder = tiny.diarizer(tmp_path / "sets", labels=7)
    kind = engine_class(DIARIZER)
    (output,) = kind(kind.Params(model=str(folder), powerset=3, on_threshold=0.3, off_threshold=0.2))(
        [part(14, 18)]
    )
    assert {turn.speaker for turn in output.turns} <= {1, 2, 3}
    with pytest.raises(PaqaError, match="the model has 7 outputs, but there are 11 sets"):
        kind(kind.Params(model=str(folder), powerset=4))


# --- labels


def test_labels_are_audioset_classes_by_name():
    columns, mids = columns_of(["Dog", "dog", "Bow-wow"], {}, "refuse", "m")
    assert columns == [[0, 1], [2]]
    assert mids == (audioset.mid("Dog"), audioset.mid("Bow-wow"))
    columns, mids = columns_of(["Dog", "doggy", "n/a"], {"doggy": "/m/0bt9lr", "n/a": ""}, "refuse", "m")
    assert columns == [[0, 1]]


def test_labels_that_are_no_classes_are_refused_unless_the_recipe_says_so():
    with pytest.raises(PaqaError, match=r"m: 2 of its 3 labels are no AudioSet classes: happy, sad; name"):
        columns_of(["Dog", "happy", "sad"], {}, "refuse", "m")
    assert columns_of(["Dog", "happy"], {}, "ignore", "m")[0] == [[0]]
    with pytest.raises(PaqaError, match="no AudioSet classes"):
        columns_of(["happy"], {}, "ignore", "m")
    with pytest.raises(PaqaError, match="has no label 'Cat'"):
        columns_of(["Dog"], {"Cat": "Cat"}, "refuse", "m")


def test_a_call_of_several_windows_gives_what_single_calls_give(made):
    """But for the last digits: a call that is not full is filled up."""
    kind = engine_class(TAGGER)
    windows = list(np.random.default_rng(0).normal(0, 0.1, (5, 32_000)).astype(np.float32))
    one, three = (kind(kind.Params(model=str(made("ast")), batch_size=n)) for n in (1, 3))
    assert np.abs(one._probabilities(windows) - three._probabilities(windows)).max() < 1e-4


# --- models


def test_a_hub_id_may_name_a_commit():
    remote = remote_of("ORG/NAME@abc", ASR)
    assert (remote.repo, remote.commit, remote.path) == ("ORG/NAME", "abc", "transformers_asr/NAME@abc")
    assert remote_of("ORG/NAME", ASR).commit is None


def test_every_model_of_the_shipped_recipe_is_looked_for_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("PAQA_MODELS", str(tmp_path))
    checks = engines_to_check(ROOT / "manifests" / "quality.toml")
    remotes = [remote for c in checks for remote in engine_class(c.engine).remotes(c.params)]
    assert [remote.repo for remote in remotes] == [
        "adefossez/HTDemucs",
        "nvidia/Nemotron-3-Diarization",
        "MIT/ast-finetuned-audioset-10-10-0.4593",
        "nvidia/parakeet-tdt-0.6b-v3",
    ]


def test_what_is_no_model(made, tmp_path):
    kind = engine_class(ASR)
    with pytest.raises(PaqaError, match="no model folder lies at"):
        kind(kind.Params(model=str(tmp_path / "nothing")))
    with pytest.raises(PaqaError, match="'audio-spectrogram-transformer' is no kind of speech"):
        kind(kind.Params(model=str(made("ast"))))
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "of_2027"}')
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(PaqaError, match="the installed transformers cannot read this model"):
        kind(kind.Params(model=str(folder)))
    params = engine_class(DIARIZER).Params(model=str(made("wavlm")), sha256="0" * 64)
    with pytest.raises(PaqaError, match=f"expected {'0' * 64}"):
        engine_class(DIARIZER).identify(params)
    assert replace(params, sha256=None) != params
