"""Finished builds without engines: scenes made up here, real questions, rationales, reflections, shards and
tables.
"""

import random
from dataclasses import replace

import numpy as np
from strategies import LABELS, SENTENCES

from paqa import audioset
from paqa.audio import digest, flac, quantize
from paqa.config.recipe import QuestionsConfig, Recipe, ShardConfig, SourceConfig
from paqa.dataset import finish_build, shards
from paqa.dataset.keys import item_key
from paqa.questions.generate import generate
from paqa.rationale import grammar
from paqa.rationale.reflection import compare, reflect
from paqa.storage import build_folder
from paqa.types import Audio, Clip, Event, HeardBy, Item, Origin, Scene, Turn, Word
from paqa.version import __version__

RATE = 16_000
SAID = [text for text in SENTENCES if text and "<" not in text and len(text) < 80]
HEARD_BY = (HeardBy("diarize", "silero_dvector", "1"), HeardBy("tag", "yamnet", "1"))


def scene(name, seconds=10.0):
    """Two or three voices and two sounds, with word times."""
    rng = random.Random(name)
    texts, labels = rng.sample(SAID, 4), rng.sample(LABELS, 2)
    turns, words, at = [], [], 200
    for n, text in enumerate(texts):
        length = min(2000, 60 * len(text) + 200)
        speaker = n % 2 + 1 if n < 3 else rng.choice((1, 2, 3))
        turns.append(Turn(at, at + length, speaker, text))
        parts = text.split()
        step = length // len(parts)
        words += [Word(at + i * step, at + (i + 1) * step, w, speaker, 0.9) for i, w in enumerate(parts)]
        at += length + 150
    events = sorted((rng.randrange(0, 4000, 10), label) for label in labels)
    return Scene(
        clip_id=name,
        duration_ms=int(seconds * 1000),
        turns=tuple(turns),
        words=tuple(words),
        events=tuple(Event(s, s + 3000, label, audioset.mid(label)) for s, label in events),
        language="en",
        snr_db=10.0,
    )


def noise(name, seconds=10.0):
    samples = np.random.default_rng(random.Random(name).randrange(2**32)).normal(
        0, 0.1, (1, int(seconds * RATE))
    )
    return Audio(quantize(samples.astype(np.float32)), RATE)


def origin(clip):
    place = (clip.id, clip.uri, 0, clip.duration_ms, clip.sha256, clip.source, clip.license)
    return Origin("recording", clip.corpus, *place)


def rows(clip, config):
    """The items of a clip: open-ended ones and reflected ones among them."""
    made = []
    for n, question in enumerate(generate(clip.truth, config, 1)):
        told = reflect(clip.truth, question, compare(clip.truth, []), config, 1)
        text = grammar.render(clip.truth, question, n, told)
        trace = grammar.parse(text, letters=bool(question.choices))
        row = Item(
            id=question.id, clip_id=clip.id, question=question.text, choices=question.choices,
            answer=question.answer, answer_index=question.answer_index, task=question.task,
            template=question.template, rationale=text, scene=clip.truth, evidence=question.evidence,
            reflected=told is not None, reflection=told.origin if told else None,
            mistaken=grammar.mistaken_tags(trace, clip.truth, question), audio_dependence=None,
            source=clip.source, license=clip.license, groups=clip.groups, split=clip.split,
            answers_from="truth", heard_by=HEARD_BY, key="0" * 64, difficulty=0.3, origins=(origin(clip),),
            paqa_version=__version__,
        )  # fmt: skip
        made.append(replace(row, key=item_key(row, clip.sha256)))
    return made


def make(folder, clips=9, per_clip=4, seconds=10.0, max_mb=1, name="made", license="CC-BY-4.0", wanted=None):
    """A finished build of `clips` clips, a third of them for testing; the same call gives the same bytes.

    `wanted` is the licence that its recipe names; its rows have `license`.
    """
    config = QuestionsConfig(per_clip=per_clip, open_rate=0.3, reflect=0.5)
    recipe = Recipe(
        name=name,
        sources=(SourceConfig("voices", "folder", "/home/somebody/secret/recordings"),),
        questions=config,
        shard=ShardConfig(max_mb=max_mb, row_group_mb=1),
        license=wanted,
        folder="/home/somebody/secret",
    )
    made, items, store = [], [], {}
    for i in range(clips):
        label = f"clip {i:04d}"
        audio = noise(label, seconds)
        store[digest(audio)] = flac(audio)
        clip = Clip(
            id=label, uri=f"{label}.wav", sha256=digest(audio), duration_ms=audio.duration_ms, rate=RATE,
            corpus="mix", source="made up", license=license, groups=(label,),
            split="test" if i % 3 == 0 else "train", answers="truth", truth=scene(label, seconds),
        )  # fmt: skip
        made.append(replace(clip, origins=(origin(clip),)))
        items += rows(clip, config)
    data = build_folder.begin(folder) / build_folder.DATA
    plans = shards.plan(items, made, recipe.shard)
    written = {plan.name: shards.write(plan, data, recipe.shard, store.__getitem__, RATE) for plan in plans}
    finish_build.finish(
        recipe, folder, str(folder / "store"), finish_build.Contents(made, items, [], [], written)
    )
    return folder
