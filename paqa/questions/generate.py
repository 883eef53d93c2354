"""Questions whose every answer follows from the scene: a registry of templates, and `generate`.

A template drafts what can be asked safely; here the drafts of a clip are chosen so that families and levels
balance, and turned into questions whose answers stand at each position equally often.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice, zip_longest
from typing import TypeVar

from paqa.config.recipe import MixConfig, QuestionsConfig, Recipe, SourceConfig
from paqa.questions import (
    counting,
    dialogue,
    dialogue_flow,
    durations,
    emotion,
    sequence,
    sound_kinds,
    sound_order,
    sounds,
    speakers,
    speech_and_sound,
    speech_times,
    timing,
    translation,
    voice_prosody,
    word_order,
    word_times,
)
from paqa.questions.answer_positions import balanced_positions
from paqa.questions.context import Context, context
from paqa.questions.english import tidy
from paqa.questions.families import template_of_plugin, templates_of
from paqa.questions.none_of_these import with_none
from paqa.questions.scene_parts import NO_OTHER_CLIPS, OtherClips
from paqa.questions.template import NONE, Claim, Draft, Level, QuestionTemplate
from paqa.text import normal, rng_for
from paqa.types import Item, Question, Scene

__all__ = [
    "NO_OTHER_CLIPS",
    "TEMPLATES",
    "Claim",
    "Draft",
    "Level",
    "OtherClips",
    "QuestionTemplate",
    "config_for",
    "generate",
    "rests_on",
    "template_named",
    "templates",
]

FAMILIES = (
    *(sounds, sound_kinds, sound_order, counting, timing, durations, sequence),
    *(speakers, dialogue, dialogue_flow, voice_prosody, speech_and_sound, emotion, translation),
    *(word_order, word_times, speech_times),
)
TEMPLATES: dict[str, QuestionTemplate] = {t.name: t for family in FAMILIES for t in family.TEMPLATES}
QUESTIONS_PER_TEMPLATE = 3  # on one clip, at most
DRAFTS_PER_TEMPLATE = 2 * QUESTIONS_PER_TEMPLATE

T = TypeVar("T")


def templates(config: QuestionsConfig) -> dict[str, QuestionTemplate]:
    """All templates by name: those of paqa, then those of the plug-ins that the recipe names."""
    return TEMPLATES | {t.name: t for family in config.families for t in templates_of(family)}


def template_named(name: str) -> QuestionTemplate | None:
    """The template that rows call `name`, of paqa or of an installed plug-in; None where there is none."""
    return TEMPLATES.get(name) or template_of_plugin(name)


def config_for(recipe: Recipe, corpus: str) -> QuestionsConfig:
    """What is asked about the clips of a source or mix: templates of other tasks than its own are skipped."""
    named: list[SourceConfig | MixConfig] = [*recipe.sources, *recipe.mix]
    tasks = next((config.tasks for config in named if config.name == corpus), ())
    others = (t.name for t in templates(recipe.questions).values() if tasks and t.task not in tasks)
    return replace(recipe.questions, skip=(*recipe.questions.skip, *others))


def generate(
    scene: Scene,
    config: QuestionsConfig,
    seed: int,
    other_clips: OtherClips = NO_OTHER_CLIPS,
    accept: Callable[[Question], bool] = lambda question: True,
) -> list[Question]:
    """Up to `config.per_clip` questions about a scene that are accepted; [] where nothing is safe to ask.

    The same scene, config and seed give the same questions on every machine. Families take turns in an order
    seeded by the clip, environment and speaker alternating. `other_clips` holds wrong choices from other
    clips. A family that needs labels changes nothing about the questions of a clip without any.
    """
    groups: dict[tuple[Level, str], list[list[Question]]] = {}
    base = context(scene, config, seed, "", other_clips)
    for template in templates(config).values():
        if template.name not in config.skip:
            asked = _questions_of(base, seed, template)
            if asked or not template.labelled:
                groups.setdefault((template.level, template.task), []).append(asked)
    rng = rng_for(seed, scene.clip_id, "choice of questions")
    queues: dict[Level, list[list[Question]]] = {"environment": [], "speaker": []}
    for (level, _), family in groups.items():
        rng.shuffle(family)
        queues[level].append(list(_alternating(family)))
    levels = [queues["environment"], queues["speaker"]]
    rng.shuffle(levels)
    for queue in levels:
        rng.shuffle(queue)
    candidates = _alternating([list(_alternating(queue)) for queue in levels])
    chosen = islice(filter(accept, candidates), config.per_clip)
    return list(balanced_positions(chosen, scene.clip_id, seed))


def answers(scene: Scene, config: QuestionsConfig, seed: int) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """What `OtherClips.answers` counts: for every draft its template, sorted choices and answer."""
    base = context(scene, config, seed, "", NO_OTHER_CLIPS)
    for template in templates(config).values():
        if template.closed and template.name not in config.skip:
            ctx = base.reseeded(rng_for(seed, scene.clip_id, template.name))
            for draft in islice(template.drafts(ctx), DRAFTS_PER_TEMPLATE):
                wrong = _wrong_choices(draft, config)
                if wrong is not None:
                    yield template.name, tuple(sorted((draft.answer, *wrong))), draft.answer


def _alternating(lists: Iterable[list[T]]) -> Iterator[T]:
    """The first of each list, then the second of each, and so on."""
    for row in zip_longest(*lists):
        yield from (item for item in row if item is not None)


def _questions_of(base: Context, seed: int, template: QuestionTemplate) -> list[Question]:
    """Up to QUESTIONS_PER_TEMPLATE questions of one template."""
    ctx = base.reseeded(rng_for(seed, base.scene.clip_id, template.name))
    # All drafts are made before the first is argued for, which draws from the same generator.
    drafts = list(islice(template.drafts(ctx), DRAFTS_PER_TEMPLATE))
    asked = (_question(ctx, seed, template, n, draft) for n, draft in enumerate(drafts))
    return list(islice((q for q in asked if q), QUESTIONS_PER_TEMPLATE))


def _question(ctx: Context, seed: int, template: QuestionTemplate, n: int, draft: Draft) -> Question | None:
    """A draft as a question, the answer first; None for too few different choices, or by chance (`odds`)."""
    config = ctx.config
    name = question_id(ctx.scene.clip_id, template.name, n)
    wrong = _wrong_choices(draft, config)
    if wrong is None:
        return None
    if template.closed:
        odds = ctx.other_clips.odds(template.name, (draft.answer, *wrong), draft.answer)
        if rng_for(seed, name, "odds").random() >= odds:
            return None
    rng = rng_for(seed, name)
    rng.shuffle(wrong)
    wording_rng = rng_for(seed, ctx.scene.clip_id, template.name, "wording")
    wordings = wording_rng.sample(draft.texts, len(draft.texts))
    question = Question(
        id=name,
        clip_id=ctx.scene.clip_id,
        task=template.task,
        template=template.name,
        text=tidy(wordings[n % len(wordings)]),
        choices=(draft.answer, *wrong),
        answer_index=0,
        evidence=draft.evidence,
        plan=draft.plan,
        reasoning=tidy(draft.reasoning),
        margin=draft.margin,
    )
    if template.open and rng_for(seed, "form", name).random() < config.open_rate:
        text = f"{question.text} {template.open}"
        return replace(question, text=text, choices=(), answer_index=None, open_answer=draft.answer)
    return with_none(ctx, question, draft, rng_for(seed, NONE, name).random() if template.none else 1.0)


def _wrong_choices(draft: Draft, config: QuestionsConfig) -> list[str] | None:
    """The first decoys that differ from the answer and from one another; None where these are too few."""
    seen = {normal(draft.answer)}
    wrong: list[str] = []
    for decoy in draft.decoys:
        if normal(decoy) not in seen and len(wrong) < config.choices - 1:
            seen.add(normal(decoy))
            wrong.append(decoy)
    enough = len(wrong) + 1 >= min(draft.fewest, config.choices) and bool(draft.evidence)
    return wrong if enough else None


def level(question: Question) -> Level:
    """Whether a question is about the background or about speech; by its evidence for one of a source."""
    if template := template_named(question.template):
        return template.level
    return "environment" if all(e.kind == "event" for e in question.evidence) else "speaker"


def rests_on(question: Question | Item) -> frozenset[Claim]:
    """What must hold of the evidence for a question and its answer to be right; of one of a source, all that
    its evidence can tell.
    """
    if template := template_named(question.template):
        claims = template.rests_on
        # That there is a sound rests on this sound, that there is none on no other being there.
        cited = any(e.kind == "event" for e in question.evidence)
        either = question.template == "any_background"
        return claims - {"absence" if cited else "sound"} if either else claims
    by_kind: dict[str, frozenset[Claim]] = {
        "event": frozenset({"sound", "absence"}),
        "turn": frozenset({"speaker_count", "words"}),
        "word": frozenset({"words"}),
    }
    return frozenset().union(*(by_kind[e.kind] for e in question.evidence))


def question_id(clip_id: str, template: str, n: int) -> str:
    """`clip:template:n`, at most 200 characters; a long clip id is cut and marked with its digest."""
    if len(clip_id) > 150:
        digest = hashlib.sha256(clip_id.encode("utf-8", "surrogatepass")).hexdigest()
        clip_id = f"{clip_id[:137]}~{digest[:12]}"
    return f"{clip_id}:{template}:{n}"
