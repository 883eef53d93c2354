"""Questions whose every answer follows from the scene: a registry of templates, and `generate`.

A template drafts what can be asked safely; here the drafts of a clip are chosen so that families and levels balance,
and turned into questions whose answer stands at a position that depends on nothing but the question's id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from typing import TypeVar

from paqa.questions import counting, dialogue, emotion, sound_order, sounds, speakers, timing, together, translation
from paqa.questions.context import context
from paqa.questions.draft import Draft, Level, Template
from paqa.questions.prose import normal, rng_for, tidy
from paqa.recipe import QuestionsConfig
from paqa.types import Question, Scene

__all__ = ["TEMPLATES", "Draft", "Level", "Template", "generate"]

FAMILIES = (sounds, sound_order, counting, timing, speakers, dialogue, together, emotion, translation)
TEMPLATES: dict[str, Template] = {t.name: t for family in FAMILIES for t in family.TEMPLATES}
DRAFTS = 3  # at most so many questions of one template on one clip

T = TypeVar("T")


def generate(scene: Scene, config: QuestionsConfig, seed: int, foreign: Sequence[str] = ()) -> list[Question]:
    """Up to `config.per_clip` questions about a scene, the same ones on every machine; [] where nothing is safe to ask.

    Families take turns in an order seeded by the clip, environment and speaker alternating. `foreign` are translations
    of what is said in other clips, as wrong choices. Families that ask for labels leave a clip without any as it is.
    """
    groups: dict[tuple[Level, str], list[list[Question]]] = {}
    for template in TEMPLATES.values():
        if template.name not in config.skip:
            asked = _ask(scene, config, seed, template, foreign)
            if asked or not template.labelled:
                groups.setdefault((template.level, template.task), []).append(asked)
    rng = rng_for(seed, scene.clip_id, "choice of questions")
    queues: dict[Level, list[list[Question]]] = {"environment": [], "speaker": []}
    for (level, _), family in groups.items():
        rng.shuffle(family)
        queues[level].append(list(_in_turns(family)))
    levels = [queues["environment"], queues["speaker"]]
    rng.shuffle(levels)
    for queue in levels:
        rng.shuffle(queue)
    questions = list(islice(_in_turns([list(_in_turns(queue)) for queue in levels]), config.per_clip))
    return questions


def _in_turns(lists: Iterable[list[T]]) -> Iterator[T]:
    """The first of each list, then the second of each, and so on."""
    for row in zip_longest(*lists):
        yield from (x for x in row if x is not None)


def _ask(
    scene: Scene, config: QuestionsConfig, seed: int, template: Template, foreign: Sequence[str]
) -> list[Question]:
    ctx = context(scene, config, seed, template.name, foreign)
    asked = (_question(scene, config, seed, template, n, d) for n, d in enumerate(template.drafts(ctx)))
    return list(islice((q for q in asked if q), DRAFTS))


def _question(
    scene: Scene, config: QuestionsConfig, seed: int, template: Template, n: int, draft: Draft
) -> Question | None:
    """A draft with its choices drawn; None where too few of them differ."""
    name = question_id(scene.clip_id, template.name, n)
    wrong = _distinct(draft, config.choices - 1)
    if len(wrong) + 1 < min(draft.fewest, config.choices) or not draft.evidence:
        return None
    rng = rng_for(seed, name)
    at = position(name, seed, len(wrong) + 1)
    rng.shuffle(wrong)
    return Question(
        id=name,
        clip_id=scene.clip_id,
        task=template.task,
        template=template.name,
        text=tidy(rng.choice(draft.texts)),
        choices=(*wrong[:at], draft.answer, *wrong[at:]),
        answer_index=at,
        evidence=draft.evidence,
        plan=draft.plan,
        reasoning=tidy(f"{draft.reasoning} {draft.weigh(wrong)}".strip()),
        margin=draft.margin,
    )


def _distinct(draft: Draft, count: int) -> list[str]:
    """The first decoys that differ from the answer and from one another."""
    seen = {normal(draft.answer)}
    found: list[str] = []
    for decoy in draft.decoys:
        if normal(decoy) not in seen and len(found) < count:
            seen.add(normal(decoy))
            found.append(decoy)
    return found


def question_id(clip_id: str, template: str, n: int) -> str:
    """`clip:template:n`, at most 200 characters; a long clip id is cut and marked with its digest."""
    if len(clip_id) > 150:
        digest = hashlib.sha256(clip_id.encode("utf-8", "surrogatepass")).hexdigest()
        clip_id = f"{clip_id[:137]}~{digest[:12]}"
    return f"{clip_id}:{template}:{n}"


def position(question_id: str, seed: int, choices: int) -> int:
    """Where the answer stands: uniform over a build, independent of template and content."""
    return rng_for(seed, "position", question_id).randrange(choices)
