"""What a question may take from the other clips of a build: wrong choices, and answers to balance.

All scenes are surveyed before the first question is asked. The survey has what no single clip can tell, and
what a reader of many questions could learn without listening: how often each answer would be right.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace

from paqa.config.recipe import QuestionsConfig, Recipe
from paqa.perception import scenes, source_labels
from paqa.questions import generate
from paqa.questions.generate import OtherClips, config_for
from paqa.questions.sound_names import UNASKED
from paqa.questions.spoken_words import meaningful_words
from paqa.storage.store import Store, key
from paqa.types import Clip, Scene

WORDS = 2000  # the commonest ones, that are asked about and offered


@dataclass(frozen=True)
class Survey:
    """Clips by kind of sound (machine id, label) and by word said (code of the language, word), and questions
    by template, choices and answer.
    """

    sounds: Counter[tuple[str, str]] = field(default_factory=Counter)
    answers: Counter[tuple[str, tuple[str, ...], str]] = field(default_factory=Counter)
    words: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __add__(self, more: Survey) -> Survey:
        return Survey(self.sounds + more.sounds, self.answers + more.answers, self.words + more.words)


def survey(clips: Iterable[Clip], recipe: Recipe, store: Store) -> Survey:
    """Count a batch of clips whose inference is done."""
    counts = Survey()
    for clip in clips:
        truth = clip.truth if clip.answers == "truth" else None
        scene = truth or scenes.predicted_scene(clip, recipe, store)
        scene = scenes.scene_for_questions(clip, scene, recipe, store)
        counts += count(scene, config_for(recipe, clip.corpus), recipe.seed)
    return counts


def count(scene: Scene, config: QuestionsConfig, seed: int) -> Survey:
    """Count one scene."""
    sounds = Counter({(e.mid, e.label) for e in scene.events if e.label not in UNASKED})
    words = Counter({(scene.language or "", w) for w in meaningful_words(scene.transcript)})
    return Survey(sounds, Counter(generate.answers(scene, config, seed)), words)


def common_elsewhere(counts: Survey, foreign: Sequence[str] = ()) -> OtherClips:
    """The part of `OtherClips` that all clips of a build share; `foreign` are other clips' translations."""
    answers: dict[tuple[str, tuple[str, ...]], dict[str, int]] = defaultdict(dict)
    for (template, choices, answer), n in sorted(counts.answers.items()):
        answers[template, choices][answer] = n
    sounds = dict(sorted(counts.sounds.items()))
    commonest = sorted(counts.words.items(), key=lambda counted: (-counted[1], counted[0]))[:WORDS]
    words = dict(sorted(commonest))
    digest = key(list(sounds.items()), list(answers.items()), list(words.items()))
    return OtherClips(tuple(foreign), sounds, dict(answers), digest, words)


def elsewhere(
    clips: Sequence[Clip], counts: Survey, generations: Iterable[Container[str]] = ()
) -> dict[str, OtherClips]:
    """For each clip, by id, what its questions may take from the others.

    Of a build that grows, `generations` are the ids of the clips that it had at each time, the latest first:
    a clip takes from those that were there when it came.
    """
    foreign = source_labels.translation_choices(clips)
    for ids in generations:
        foreign |= source_labels.translation_choices(clip for clip in clips if clip.id in ids)
    common = common_elsewhere(counts)
    by_clip = {}
    for clip in clips:
        by_clip[clip.id] = replace(common, foreign=foreign[clip.id]) if clip.id in foreign else common
    return by_clip
