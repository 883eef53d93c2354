"""Text-only shortcuts: the gate over the whole build, and how far each row depends on its audio.

`paqa.curation.shortcut_classifiers` guesses every answer from the text alone. Over the whole build no guesser
may be right more often than chance, plus the recipe's points, plus a binomial tolerance; otherwise the build
fails and names the templates that the guesser gains most from. `DIR/shortcuts.json` holds all figures, in
`DIR/failed` those of a build that failed.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import msgspec

from paqa.config.recipe import GatesConfig
from paqa.curation.shortcut_classifiers import Features, Text, guess, related
from paqa.curation.shortcut_lm import choice_probabilities
from paqa.errors import PaqaError
from paqa.storage import build_folder
from paqa.storage.build_folder import SHORTCUTS
from paqa.storage.store import key, write_atomically
from paqa.text import rng_for
from paqa.types import Item, Quarantined

VERSION = 1  # raise when the same rows would get other figures
DEVIATIONS = 2.0  # of the binomial distribution, allowed on top of the points
FEWEST = 200  # rows from which a build is thinned and can fail: fewer prove nothing
BLAMED = 3  # templates that a message names
EXAMPLES = 3  # rows of a template in the report, most surely guessed first
GUESSABLE = "guessable"  # the reason of rows that `thin` leaves out: nothing is wrong with them one by one
UNHEARD = "answerable_without_audio"  # the reason of rows below gates.min_audio_dependence
ROUNDS = 3  # of leaving rows out


@dataclass(frozen=True)
class Guessed:
    """How often one guesser is right, beside chance (mean of one over the number of choices).

    `limit` is chance plus the allowed points plus the binomial tolerance; `excess` is accuracy minus chance.
    """

    accuracy: float
    chance: float
    limit: float

    @property
    def excess(self) -> float:
        return self.accuracy - self.chance

    @property
    def passes(self) -> bool:
        return self.accuracy <= self.limit


@dataclass(frozen=True)
class Example:
    """A row that the classifier guesses, with the probability it gives the right answer."""

    id: str
    question: str
    choices: tuple[str, ...]
    answer_index: int
    probability: float


@dataclass(frozen=True)
class TemplateGuesses:
    """One template's rows and guessers; `examples` are its most surely guessed rows."""

    name: str
    rows: int
    guessers: dict[str, Guessed]
    examples: tuple[Example, ...] = ()

    @property
    def worst(self) -> str:
        """The guesser that is furthest above chance."""
        return max(self.guessers, key=lambda name: (self.guessers[name].excess, name))


@dataclass(frozen=True)
class ShortcutReport:
    """The whole build and each template, the one that adds most right guesses first.

    `points` is the allowed excess. `related` rows share recordings or speakers with rows that their guessers
    saw: where a group is larger than a fold, folds are by clip.
    """

    rows: int
    points: float
    guessers: dict[str, Guessed]
    templates: tuple[TemplateGuesses, ...]
    positions: tuple[int, ...]  # rows by position of the answer
    related: int = 0

    @property
    def failing(self) -> list[str]:
        """The guessers that are too good over the whole build."""
        return [name for name, guesses in self.guessers.items() if not guesses.passes]


@dataclass(frozen=True)
class Scored:
    """A report, and for each row (by id) how much its answer depends on the audio, in [0, 1]."""

    report: ShortcutReport
    dependence: dict[str, float]


def texts(items: Iterable[Item]) -> list[Text]:
    """The multiple-choice rows of a build, in order of id; open-ended rows have nothing to choose from."""
    rows = (
        Text(i.id, i.clip_id, i.groups, i.template, i.question, i.choices, i.answer_index)
        for i in items
        if i.answer_index is not None and len(i.choices) > 1
    )
    return sorted(rows, key=lambda row: row.id)


@dataclass(frozen=True)
class Thinned:
    """The scores of the rows that are kept, and by id those that are not.

    `left_out` are rows of guessable templates, with how surely they were guessed; `below` depend less on the
    audio than the recipe wants.
    """

    scored: Scored
    left_out: dict[str, float]
    below: dict[str, float]


def thin(
    rows: Sequence[Text],
    config: GatesConfig,
    settled: Mapping[str, float] | None = None,
    text_answers: Mapping[str, tuple[int, int]] | None = None,
) -> Thinned:
    """Leave rows out until no template can be guessed, at most the recipe's share of them (`gates.thin`).

    In a template that some guesser beats, a row that the text answers with a probability p above chance is
    kept with the odds chance / p, drawn by its id: among the rows that read alike, each answer is then about
    as frequent. What is left is measured with other folds than those by which rows were left out. `settled`
    rows, by id, stay and keep their dependence: those of a build that grows. `text_answers` are a verifier's,
    see `measure`.
    """
    settled = settled or {}
    left_out: dict[str, float] = {}
    rest = list(rows)
    lm_probabilities = choice_probabilities(rows, config.listener) if config.listener else None
    score = partial(
        measure,
        points=config.shortcut_points,
        lm_probabilities=lm_probabilities,
        features=Features(rows),
        text_answers=text_answers,
    )
    thins = config.thin and len(rows) >= FEWEST
    rounds = 1 if settled else ROUNDS
    for n in range(rounds if thins else 0):
        scored = score(rest, folds=f"round {n}")
        easy = {t.name for t in scored.report.templates if not all(g.passes for g in t.guessers.values())}
        candidates = [row for row in rest if row.template in easy and row.id not in settled]
        sure = {row.id: _sure(scored.dependence[row.id], row) for row in candidates}
        removed = {row.id for row in candidates if _drawn(row, n) * sure[row.id] >= 1 / len(row.choices)}
        if not removed or len(left_out) + len(removed) > config.thin * len(rows):
            break
        left_out |= {name: sure[name] for name in removed}
        rest = [row for row in rest if row.id not in removed]
    scored = score(rest)
    unsettled = {name: value for name, value in scored.dependence.items() if name not in settled}
    below = {name: value for name, value in unsettled.items() if value < config.min_audio_dependence}
    if below:
        scored = score([row for row in rest if row.id not in below])
    return Thinned(replace(scored, dependence=scored.dependence | dict(settled)), left_out, below)


def thinned_key(
    rows: Sequence[Text],
    config: GatesConfig,
    settled: Mapping[str, float],
    text_answers: Mapping[str, tuple[int, int]],
) -> str | None:
    """Where the store has what `thin` returns; None with a language model, whose files may change."""
    if config.listener:
        return None
    decisive = (config.shortcut_points, config.thin, config.min_audio_dependence)
    return key("shortcuts", VERSION, version("scikit-learn"), rows, decisive, settled, text_answers)


def _sure(dependence: float, row: Text) -> float:
    """The probability of the right answer from the text, at least chance."""
    return 1 - dependence * (1 - 1 / len(row.choices))


def _drawn(row: Text, n: int) -> float:
    return rng_for("thin", n, row.id).random()


def measure(
    rows: Sequence[Text],
    points: float,
    folds: str = "",
    lm_probabilities: Mapping[str, Sequence[float]] | None = None,
    features: Features | None = None,
    text_answers: Mapping[str, tuple[int, int]] | None = None,
) -> Scored:
    """All guessers on all rows; `points` (percent) above chance are allowed; `folds` draws other folds.

    `lm_probabilities` are those of the choices by the language model that the recipe names
    (`gates.listener`), by id of the row; `features` are those of these rows and others.
    `text_answers` are how many of a verifier's answers without audio are right, and how many it gave, by id.

    Dependence is 1 where the text gives the right answer at most its chance, 0 where the text alone is sure
    of it: `1 - (p - chance) / (1 - chance)` with p the probability that the `both` classifier gives the right
    answer, or that of a language model where it is larger.
    """
    rows = sorted(rows, key=lambda row: row.id)
    guesses = guess(rows, folds, lm_probabilities, features, text_answers)
    guessed = []
    dependence = {}
    for i, (row, sure) in enumerate(zip(rows, guesses.sure, strict=True)):
        guessed.append(_GuessedRow(row, sure, {name: hits[i] for name, hits in guesses.right.items()}))
        chance = 1 / len(row.choices)
        dependence[row.id] = round(1 - max(0.0, (sure - chance) / (1 - chance)), 2)
    return Scored(_report(guessed, points), dependence)


@dataclass(frozen=True)
class _GuessedRow:
    """A row, the probability that the text gives its answer, and how right each guesser is."""

    row: Text
    sure: float
    right: dict[str, float]


def _report(rows: Sequence[_GuessedRow], points: float) -> ShortcutReport:
    by_template: dict[str, list[_GuessedRow]] = defaultdict(list)
    for guessed in rows:
        by_template[guessed.row.template].append(guessed)
    templates = [
        TemplateGuesses(name, len(guesses), _guessers(guesses, points), _examples(guesses))
        for name, guesses in sorted(by_template.items())
    ]
    templates.sort(key=lambda t: -t.rows * t.guessers[t.worst].excess)
    places = Counter(guessed.row.answer_index for guessed in rows)
    positions = tuple(places[k] for k in range(max(places, default=-1) + 1))
    sharing = related([guessed.row for guessed in rows])
    return ShortcutReport(len(rows), points, _guessers(rows, points), tuple(templates), positions, sharing)


def _guessers(rows: Sequence[_GuessedRow], points: float) -> dict[str, Guessed]:
    """The tolerance is that of a guesser that is right with exactly its chance, row by row."""
    n = len(rows)
    chances = [1 / len(guessed.row.choices) for guessed in rows]
    mean = sum(chances) / n if n else 0.0
    deviation = math.sqrt(sum(c * (1 - c) for c in chances)) / n if n else 0.0
    limit = mean + points / 100 + DEVIATIONS * deviation
    names = list(rows[0].right) if rows else []
    return {name: Guessed(sum(guessed.right[name] for guessed in rows) / n, mean, limit) for name in names}


def _examples(rows: Sequence[_GuessedRow]) -> tuple[Example, ...]:
    surest = sorted(rows, key=lambda guessed: (-guessed.sure, guessed.row.id))[:EXAMPLES]
    examples = []
    for guessed in surest:
        row, sure = guessed.row, round(guessed.sure, 3)
        examples.append(Example(row.id, row.question, row.choices, row.answer_index, sure))
    return tuple(examples)


def mark(items: Iterable[Item], thinned: Thinned) -> tuple[list[Item], list[Quarantined]]:
    """Items with their dependence on the audio (None for open-ended ones), and those that fall out."""
    kept, lost = [], []
    for item in items:
        dependence = thinned.scored.dependence.get(item.id)
        if item.id in thinned.left_out:
            lost.append(
                Quarantined(item.id, "gates", GUESSABLE, _alike(item, thinned.left_out[item.id]), item.key)
            )
        elif item.id in thinned.below:
            below = f"audio dependence {thinned.below[item.id]} is below gates.min_audio_dependence"
            detail = f"{item.id}: {below}: the text alone answers it"
            lost.append(Quarantined(item.id, "gates", UNHEARD, detail, item.key))
        elif dependence is None:
            kept.append(item)
        else:
            kept.append(dependent(item, dependence))
    return kept, lost


def dependent(item: Item, dependence: float) -> Item:
    """The row with its dependence on the audio, which moves its key."""
    return replace(item, audio_dependence=dependence, key=dependent_key(item.key, dependence))


def dependent_key(base: str, dependence: float) -> str:
    """The key of a row with this dependence, from its key without."""
    return key("audio_dependence", base, dependence)


def _alike(item: Item, sure: float) -> str:
    return (
        f"{item.id}: rows of {item.template} that read like this one have mostly this answer "
        f"(guessed from the text with {sure:.0%}, chance is {1 / len(item.choices):.0%}); "
        "some are left out (gates.thin)"
    )


def verdict(report: ShortcutReport, out: Path) -> str | None:
    """One line that says why a build fails, the templates to blame and what to run; None where it passes."""
    if report.rows < FEWEST or not report.failing:
        return None
    name = max(report.failing, key=lambda g: report.guessers[g].excess)
    guesses = report.guessers[name]
    worst = sorted(report.templates, key=lambda t: -t.rows * t.guessers[name].excess)
    worst = [t for t in worst if not t.guessers[name].passes][:BLAMED] or worst[:1]
    blamed = ", ".join(f"{t.name} ({t.guessers[name].accuracy:.0%} of {t.rows})" for t in worst)
    others = "".join(f", {g}" for g in report.failing if g != name)
    return (
        f"the text alone answers {guesses.accuracy:.1%} of {report.rows} questions (guessers that are too "
        f"good: {name}{others}), chance is {guesses.chance:.1%}, at most {guesses.limit:.1%} is allowed; "
        f"most to blame: {blamed}; look with: paqa shortcuts {out}; then mend or skip these templates "
        '(questions.skip), or set gates.shortcuts = "warn"'
    )


def enforce(report: ShortcutReport, config: GatesConfig, out: Path) -> str | None:
    """Write the report beside pending shards; a warning, or PaqaError, where a guesser is too good."""
    fails = config.shortcuts == "fail"
    write_atomically(build_folder.pending(out) / SHORTCUTS, msgspec.json.format(msgspec.json.encode(report)))
    wrong = verdict(report, build_folder.failed(out) if fails else out)
    if wrong and fails:
        raise PaqaError(wrong)
    return wrong


def load(out: Path) -> ShortcutReport:
    """The report of a build; PaqaError where there is none."""
    build_folder.finish_commit(out)
    try:
        report: ShortcutReport = msgspec.json.decode((out / SHORTCUTS).read_bytes(), type=ShortcutReport)
    except FileNotFoundError:
        raise PaqaError(
            f'{out}: has no {SHORTCUTS}; build it with gates.shortcuts = "fail" or "warn"'
        ) from None
    except msgspec.ValidationError as error:
        raise PaqaError(
            f"{out / SHORTCUTS}: made by another version of paqa ({error}); run the build again"
        ) from None
    return report


def text(report: ShortcutReport, template: str | None = None) -> str:
    """Accuracies in percent by template, `!` beyond the limit; with `template`, its easiest rows."""
    chosen = [t for t in report.templates if template in (None, t.name)]
    if not chosen and template:
        names = ", ".join(sorted(t.name for t in report.templates))
        raise PaqaError(f"no row of this build is of template {template!r}; known: {names}")
    guessers = list(report.guessers)
    lines = [f"{'':<24} {'rows':>6} {'chance':>7} {'limit':>7}" + "".join(f" {n:>10}" for n in guessers)]
    lines += [_line("the whole build", report.rows, report.guessers)]
    lines += [_line(t.name, t.rows, t.guessers) for t in chosen]
    places = ", ".join(f"{chr(65 + k)} {n / max(1, report.rows):.1%}" for k, n in enumerate(report.positions))
    seen = "; rows never seen by their guesser"
    if report.related:
        seen += f", though {report.related} of them share recordings or speakers with rows that it saw"
    lines += ["", f"answers at {places}; right guesses in %, ! beyond the limit{seen}"]
    for guesses in chosen if template else ():
        lines += ["", *(line for example in guesses.examples for line in _shown(example))]
    return "\n".join(lines)


def _line(name: str, rows: int, guessers: dict[str, Guessed]) -> str:
    first = next(iter(guessers.values()), Guessed(0.0, 0.0, 1.0))
    cells = "".join(f" {100 * g.accuracy:>9.1f}{' ' if g.passes else '!'}" for g in guessers.values())
    return f"{name:<24} {rows:>6} {100 * first.chance:>7.1f} {100 * first.limit:>7.1f}{cells}"


def _shown(example: Example) -> list[str]:
    """A row as a reader sees it."""
    choices = [f"  {'*' if k == example.answer_index else ' '} {c}" for k, c in enumerate(example.choices)]
    return [f"{example.id}: the text is {example.probability:.0%} sure", f"  {example.question}", *choices]
