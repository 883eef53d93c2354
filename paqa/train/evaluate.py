"""Evaluation of a model on PAQA test rows or a benchmark: with the audio, with silence, with another clip's.

Every question counts: an answer that cannot be parsed, and a clip that is too long for the encoder, is wrong.
Rows of a benchmark that cannot be asked at all are left out of the figures, and counted as `unasked` beside
them.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paqa.errors import PaqaError
from paqa.evaluation import benchmarks
from paqa.evaluation.benchmarks import EvalQuestion, Unasked
from paqa.evaluation.choice_orders import in_orders, order_figures
from paqa.rationale import grammar, rewards
from paqa.rationale.answers import accuracies
from paqa.rationale.prompt import PromptQuestion
from paqa.storage.store import write_atomically
from paqa.train import model
from paqa.train.batch_layout import Prompt, Tree
from paqa.train.config import OFF, EvalConfig, PauseConfig, need, remember, unchanged
from paqa.train.data import Rows, draw
from paqa.train.figures import means, perception_figures
from paqa.train.forced_choice import likeliest_choice
from paqa.train.length_limits import evaluation_limit
from paqa.train.model import Policy
from paqa.train.pause_tokens import Bounds
from paqa.train.ranks import Ranks
from paqa.train.rollout import Sampling, rollout
from paqa.train.sound_store import sound_store
from paqa.types import Item

NEW_CLASSES = "classes not trained on"
FILE, UNASKED, ORIGIN = "eval.json", "unasked.jsonl", "benchmark.json"
WRITTEN = ("tokens", "pauses", "likeliest")  # of an answer, beside its text
SOUND = PromptQuestion("label", "Which sound is heard in this clip? Name one.")


@dataclass(frozen=True)
class Answer:
    """One answer, and what it cost: sampled tokens, runs of PAUSE, seconds of its batch's rollout per row.

    `likeliest` is the index of the choice that the model holds likeliest, None where that was not asked.
    """

    text: str
    tokens: int = 0
    pauses: int = 0
    cut: bool = False
    seconds: float = 0.0
    likeliest: int | None = None


def run(config: EvalConfig) -> dict[str, dict[str, float]]:
    """Answer all questions under every condition; figures by condition, also written to out/eval.json.

    All answers are written beside it.
    """
    need(config, "model", "out")
    need(config, "data" if config.benchmark == "paqa" else "questions")
    out = Path(config.out)
    unchanged(config, out)
    ranks = Ranks.join(model.device_of(config.device))
    asked, unasked = questions(config)
    policy = model.load(config.model, config.device, config.dtype, config.chunk)
    policy.sounds = sound_store(config.store, config.data, policy.inner)
    if config.benchmark != "paqa":
        asked = [replace(a, asked=policy.as_trained(a.asked)) for a in asked]
    config = replace(config, max_new=evaluation_limit(config, policy))
    if ranks.rank == 0:
        remember(config, out)
        report(out, asked, unasked)
        if config.benchmark != "paqa":
            rows = len(unasked) + sum(a.order == 0 for a in asked)
            origin = benchmarks.origin(config.benchmark, Path(config.questions), rows)
            write_atomically(out / ORIGIN, json.dumps(origin, indent=1).encode() + b"\n")
    figures_of: dict[str, dict[str, float]] = {}
    pause_config = pause_config_of(config.pause, policy.pause_config)
    bounds = Bounds.first(pause_config, policy.bounds)
    pauses = [OFF]
    if pause_config.mode != "off":
        pauses = list(dict.fromkeys((replace(pause_config, mode="never"), pause_config)))
    for hearing in config.hearing:
        for pause in pauses:
            name = hearing if pause.mode in ("off", "never") else f"{hearing}+pause"
            answers, confidence = answer(policy, asked, hearing, pause, bounds, config, ranks)
            if pause.mode == "never":
                bounds = bounds.filled(bounds.after(confidence, pause_config))
            figures_of[name] = figures(asked, answers) | ({"unasked": float(len(unasked))} if unasked else {})
            if ranks.rank > 0:
                continue
            write_answers(out, name, asked, answers)
            if hearing == "audio" and config.benchmark != "paqa":
                file = out / f"{config.benchmark}-{name}.json"
                first = [i for i, a in enumerate(asked) if a.order == 0]
                texts = [answers[i].text for i in first]
                benchmarks.write(config.benchmark, file, [asked[i] for i in first], texts, unasked)
    if ranks.rank == 0:
        _write(out, figures_of)  # labels may yet fail
    if config.labels:
        figures_of["labels"] = labels(policy, [a for a in asked if a.item], ranks)
        if ranks.rank == 0:
            _write(out, figures_of)
    return figures_of


def _write(out: Path, figures_of: dict[str, dict[str, float]]) -> None:
    write_atomically(out / FILE, json.dumps(figures_of, indent=1).encode() + b"\n")


def pause_config_of(requested: PauseConfig, trained: PauseConfig | None) -> PauseConfig:
    """How to pause: as the model was trained to, unless more than the mode is asked for."""
    only_mode = replace(requested, mode="off") == OFF
    return replace(trained, mode=requested.mode) if trained and only_mode else requested


def questions(config: EvalConfig) -> tuple[list[EvalQuestion], list[Unasked]]:
    """The questions in the order of asking, and the rows of a benchmark that cannot be asked.

    Raises PaqaError where nothing is left to ask.
    """
    asked, unasked = (build_questions(config), []) if config.benchmark == "paqa" else listed(config)
    asked = sorted(asked, key=lambda a: draw("eval", a.asked.id))[: config.rows or None]
    if config.plain:
        asked = [replace(a, asked=replace(a.asked, plain=True)) for a in asked]
    if config.benchmark != "paqa":
        asked, silent = benchmarks.decodable(asked)
        unasked += silent
    if not asked:
        raise PaqaError(f"{config.data or config.questions}: nothing to ask{_instead(config, unasked)}")
    return [order for a in asked for order in in_orders(a, config.orders, config.seed)], unasked


def listed(config: EvalConfig) -> tuple[list[EvalQuestion], list[Unasked]]:
    """The questions of a benchmark, and its rows that hold none."""
    path = Path(config.questions)
    above = path if path.is_dir() else path.parent
    return benchmarks.read(config.benchmark, path, Path(config.audio_root or above), model.RATE)


def report(out: Path, asked: Sequence[EvalQuestion], unasked: Sequence[Unasked]) -> None:
    """Report which rows are not asked: how many and the first on stderr, all in out/unasked.jsonl."""
    path = out / UNASKED
    path.unlink(missing_ok=True)
    if unasked:
        rows = [{"row": u.where, "reason": u.reason, "detail": u.detail} for u in unasked]
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
        count = f"{len(unasked)} of {len(asked) + len(unasked)} rows are not asked, see {path}"
        print(f"{count}; the first is {unasked[0].where}: {unasked[0].detail}", file=sys.stderr)


def _instead(config: EvalConfig, unasked: Sequence[Unasked]) -> str:
    """Why nothing of a benchmark can be asked, or what could be of a build whose split is empty."""
    if unasked:
        return f"; none of {len(unasked)} rows can be, e.g. {unasked[0].where}: {unasked[0].detail}"
    if config.benchmark != "paqa":
        return "; expected rows"
    counts = Counter(row.item.split for row in Rows(Path(config.data)).all)
    there = ", ".join(f"{name} {n}" for name, n in sorted(counts.items())) or "no rows"
    return f" in its split {config.split} (found {there}); choose one with --split"


def build_questions(config: EvalConfig) -> list[EvalQuestion]:
    """The questions of a split of a build."""
    rows = Rows(Path(config.data))
    trained_on = {event.mid for row in rows.split("train") for event in row.item.scene.events}
    return [
        EvalQuestion(
            row.asked,
            row.item.answer_index,
            row.item.answer,
            partial(rows.samples, row),
            {},
            row.item,
            parts=(NEW_CLASSES,) if rests_on_new_classes(row.item, trained_on) else (),
        )
        for row in rows.split(config.split)
    ]


def rests_on_new_classes(item: Item, trained_on: Set[str]) -> bool:
    """Whether a question rests on a sound of a class, by machine id, that no train row's clip holds."""
    events = [item.scene.events[e.index] for e in item.evidence if e.kind == "event"]
    return any(event.mid not in trained_on for event in events)


def answer(
    policy: Policy,
    asked: Sequence[EvalQuestion],
    hearing: str,
    pause: PauseConfig,
    bounds: Bounds,
    config: EvalConfig,
    ranks: Ranks,
) -> tuple[list[Answer], Tensor]:
    """Every question's answer, and all windowed confidences, shape `[n]`; each process answers a share."""
    answers: dict[int, Answer] = {}
    seen = [torch.zeros(0)]
    clips = clip_samples(policy, asked, hearing)
    sampling = Sampling(config.max_new, config.temperature, pause, bounds, config.compile)
    share = ranks.share(len(asked))
    for start in range(0, len(share), config.batch):
        samples = {i: clips(i) for i in share[start : start + config.batch]}
        answers |= {i: Answer("", cut=True) for i in samples}
        audible = [i for i, clip in samples.items() if clip is not None]
        if audible:
            began = time.perf_counter()
            prompts = [
                policy.prompt(asked[i].asked, policy.encode(samples[i], asked[i].asked.id)) for i in audible
            ]
            seeds = [int(draw(config.seed, asked[i].asked.id) * 2**53) for i in audible]
            completions = rollout(policy, prompts, 1, seeds, sampling)
            cost = (time.perf_counter() - began) / len(audible)
            rows = zip(
                completions.texts(policy),
                completions.lengths.tolist(),
                completions.pauses.tolist(),
                completions.cut.tolist(),
                strict=True,
            )
            for i, prompt, (text, tokens, pauses, cut) in zip(audible, prompts, rows, strict=True):
                text = f"<RESPONSE>{text}</RESPONSE>" if config.plain else text
                forced = config.forced and not config.plain
                likeliest = likeliest_choice(policy, prompt, text, asked[i].asked) if forced else None
                answers[i] = Answer(text, tokens, pauses, cut, cost, likeliest)
            seen.append(completions.confidence.flatten().cpu())
        if not config.quiet and ranks.rank == 0:
            print(f"\r{hearing:<10} {len(answers):>6} of {len(share)}", end="", file=sys.stderr, flush=True)
    if not config.quiet and ranks.rank == 0:
        print(file=sys.stderr)
    return ranks.merged(answers), ranks.gathered(torch.cat(seen))


def clip_samples(policy: Policy, asked: Sequence[EvalQuestion], hearing: str) -> Any:
    """A function from a question's number to the samples it is asked over; None where these are too long."""
    most = policy.max_samples
    order = sorted(range(len(asked)), key=lambda i: draw("shuffled", asked[i].asked.id))
    clip = [a.clip for a in asked]

    def another(i: int) -> int:
        """The next question in a shuffled circle that is about another clip."""
        place = order.index(i)
        circle = order[place + 1 :] + order[:place]
        return next((j for j in circle if clip[j] != clip[i]), i)

    def samples(i: int) -> np.ndarray | None:
        """Mono samples at 16 kHz."""
        clip_of_question = asked[another(i) if hearing == "shuffled" else i].listen()
        if len(clip_of_question) > most:
            return None
        return np.zeros_like(clip_of_question) if hearing == "silence" else clip_of_question

    return samples


def figures(asked: Sequence[EvalQuestion], answers: Sequence[Answer]) -> dict[str, float]:
    """Right answers (see `accuracies`), and those by task, subset and kind of question; what answers cost.

    `accuracy_by_letter`, `accuracy_by_text`, `accuracy_forced` (of the likeliest choice) and `chance` are of
    questions with choices, as is `accuracy/choice`. For PAQA rows also perception. Questions whose answer a
    benchmark keeps are `unscored`.
    """
    pairs = list(zip(asked, answers, strict=True))
    scored = [(a, s) for a, s in pairs if a.scored]
    right = [
        accuracies(s.text, a.asked.choices, a.answer_index, a.answer, a.asked.letters) for a, s in scored
    ]
    groups: dict[str, list[float]] = defaultdict(list)
    for (a, s), r in zip(scored, right, strict=True):
        if s.likeliest is not None:
            r["accuracy_forced"] = float(s.likeliest == a.answer_index)
        kind = "choice" if a.asked.choices else "open-ended"
        for name in dict.fromkeys((a.task, *a.subsets, kind, *a.parts)):
            groups[f"accuracy/{name}"].append(r["accuracy"])
    n = max(1, len(asked))
    values = {"rows": float(len(asked)), **means(right)}
    if len(scored) < len(asked):
        values["unscored"] = float(len(asked) - len(scored))
    values |= order_figures(asked, [s.text for s in answers])
    values["cut"] = sum(s.cut for s in answers) / n
    values["format"] = sum(rewards.format_score(s.text, a.asked.by_letter) for a, s in pairs) / n
    values |= {name: sum(scores) / len(scores) for name, scores in sorted(groups.items())}
    rows = [(a.item, s.text) for a, s in pairs if a.item]
    if rows:
        values |= perception_figures(rows)
    total = sum(s.seconds for s in answers)
    values |= {"tokens": sum(s.tokens for s in answers) / n, "pauses": sum(s.pauses for s in answers) / n}
    return values | {
        "seconds": total / n,
        "tokens_per_s": sum(s.tokens for s in answers) / total if total else 0.0,
    }


@torch.no_grad()
def labels(policy: Policy, asked: Sequence[EvalQuestion], ranks: Ranks) -> dict[str, float]:
    """Macro mean average precision of sound classes over clips, each class by the likelihood of its label.

    The classes are those of the rows' scenes (a build of FSD50K's evaluation set has its 200). A label is
    scored as a short answer to one question, by mean log-probability of its tokens; all labels share the
    clip's prompt.
    """
    clips = list({a.clip: a for a in asked}.values())
    scenes = [a.item.scene for a in clips if a.item]
    names = sorted({event.label for scene in scenes for event in scene.events})
    answers = tuple(
        policy.completion_ids(f"<RESPONSE>{grammar.response(None, name)}</RESPONSE>") for name in names
    )
    learn = tuple(torch.ones(len(ids), dtype=torch.bool) for ids in answers)
    scores = {}
    for i in ranks.share(len(clips)):
        prompt: Prompt = policy.prompt(SOUND, policy.encode(clips[i].listen(), clips[i].asked.id))
        logp, _ = policy.score([Tree(prompt, answers, learn)])
        scores[i] = [float(part.mean()) for part in torch.split(logp, [len(ids) for ids in answers])]
    truths = [{event.label for event in scene.events} for scene in scenes]
    sounding = np.array([[name in truth for name in names] for truth in truths])
    varying = sounding.any(0) & ~sounding.all(0)
    if not varying.any():
        return {"classes": 0.0}
    from sklearn.metrics import average_precision_score

    mean = average_precision_score(
        sounding[:, varying], np.array(ranks.merged(scores))[:, varying], average="macro"
    )
    return {"map": float(mean), "classes": float(varying.sum()), "clips": float(len(clips))}


def write_answers(out: Path, name: str, asked: Sequence[EvalQuestion], answers: Sequence[Answer]) -> None:
    """All answers of a condition as JSONL that `paqa-train score` reads; those to other orders apart."""
    lines: dict[bool, list[str]] = {False: [], True: []}
    for a, s in zip(asked, answers, strict=True):
        row = {"id": a.asked.id, "completion": s.text, **{key: getattr(s, key) for key in WRITTEN}}
        if a.order:
            row["choices"] = a.asked.choices
        lines[a.order > 0].append(json.dumps(row) + "\n")
    write_atomically(out / f"answers-{name}.jsonl", "".join(lines[False]).encode())
    if lines[True]:
        write_atomically(out / f"answers-{name}-orders.jsonl", "".join(lines[True]).encode())


def table(figures_of: dict[str, dict[str, float]]) -> list[str]:
    """The figures, one column a condition."""
    names = list(dict.fromkeys(key for column in figures_of.values() for key in column))
    width = max([len(n) for n in names] + [10])
    head = f"{'':<{width}} " + " ".join(f"{name:>14}" for name in figures_of)
    rows = [
        f"{n:<{width}} "
        + " ".join(f"{column[n]:>14.3f}" if n in column else f"{'':>14}" for column in figures_of.values())
        for n in names
    ]
    return [head, *rows]
