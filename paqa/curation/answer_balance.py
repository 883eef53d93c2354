"""What a build holds beside the clip that is asked about: wrong choices, and how often each answer would be
right.

A survey of all scenes before the first question is asked: what no single clip can tell, and a reader of many
questions could learn without listening.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace

from paqa.config.recipe import QuestionsConfig, Recipe
from paqa.perception import scenes, source_labels
from paqa.questions import generate
from paqa.questions.generate import Elsewhere, config_for
from paqa.questions.sound_names import UNASKED
from paqa.storage.store import Store, key
from paqa.types import Clip, Scene


@dataclass(frozen=True)
class Survey:
    """Clips by kind of sound (machine id, label), and questions by template, choices and answer."""

    sounds: Counter[tuple[str, str]] = field(default_factory=Counter)
    answers: Counter[tuple[str, tuple[str, ...], str]] = field(default_factory=Counter)

    def __add__(self, other: Survey) -> Survey:
        return Survey(self.sounds + other.sounds, self.answers + other.answers)


def survey(clips: Iterable[Clip], recipe: Recipe, store: Store) -> Survey:
    """Count a batch of clips that have been heard."""
    found = Survey()
    for clip in clips:
        known = clip.truth if clip.answers == "truth" else None
        scene = scenes.scene_for_questions(
            clip, known or scenes.predicted_scene(clip, recipe, store), recipe, store
        )
        found += count(scene, config_for(recipe, clip.corpus), recipe.seed)
    return found


def count(scene: Scene, config: QuestionsConfig, seed: int) -> Survey:
    """Count one scene."""
    sounds = Counter({(e.mid, e.label) for e in scene.events if e.label not in UNASKED})
    return Survey(sounds, Counter(generate.answers(scene, config, seed)))


def told(known: Survey, foreign: Sequence[str] = ()) -> Elsewhere:
    """What `generate` is told of a build that has been counted."""
    answers: dict[tuple[str, tuple[str, ...]], dict[str, int]] = defaultdict(dict)
    for (template, choices, answer), count in sorted(known.answers.items()):
        answers[template, choices][answer] = count
    sounds = dict(sorted(known.sounds.items()))
    return Elsewhere(tuple(foreign), sounds, dict(answers), key(list(sounds.items()), list(answers.items())))


def elsewhere(
    clips: Sequence[Clip], known: Survey, generations: Iterable[Container[str]] = ()
) -> dict[str, Elsewhere]:
    """For each clip, by id, what `generate` is told of the others.

    Of a build that grows, `generations` are the ids of the clips that it had at each time, the latest first:
    a clip is told of those that were there when it came.
    """
    foreign = source_labels.translation_choices(clips)
    for ids in generations:
        foreign |= source_labels.translation_choices(clip for clip in clips if clip.id in ids)
    common = told(known)
    return {c.id: replace(common, foreign=foreign[c.id]) if c.id in foreign else common for c in clips}
