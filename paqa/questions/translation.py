"""What is said, in another language, and in which language it is said: asked where a source has the
translation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from paqa.questions.context import MIN_TURN_MS, Context, same
from paqa.questions.english import clauses, excerpt, listing, ordinal, seconds, span, spans
from paqa.questions.template import Draft, QuestionTemplate
from paqa.spans import interval, total
from paqa.text import clean, length, normal
from paqa.types import Turn

WORDS = (2, 40)  # shorter translations say too little, longer ones cannot be kept in mind
LANGUAGES = dict(
    pair.split("=")
    for pair in """ar=Arabic|be=Belarusian|bg=Bulgarian|bn=Bengali|ca=Catalan|cs=Czech|cy=Welsh|da=Danish|de=German
    |el=Greek|en=English|es=Spanish|et=Estonian|eu=Basque|fa=Persian|fi=Finnish|fr=French|ga=Irish|gl=Galician|he=Hebrew
    |hi=Hindi|hr=Croatian|hu=Hungarian|id=Indonesian|is=Icelandic|it=Italian|ja=Japanese|ka=Georgian|ko=Korean
    |lt=Lithuanian|lv=Latvian|mn=Mongolian|ms=Malay|nl=Dutch|no=Norwegian|pl=Polish|pt=Portuguese|ro=Romanian|ru=Russian
    |sk=Slovak|sl=Slovenian|sr=Serbian|sv=Swedish|sw=Swahili|ta=Tamil|te=Telugu|th=Thai|tr=Turkish|uk=Ukrainian|ur=Urdu
    |vi=Vietnamese|zh=Chinese""".replace("\n    ", "").split("|")
)
OFFERED = "ar de en es fa fr hi it ja ko nl pl pt ru sv ta tr zh".split()  # noqa: SIM905
NEAR = tuple(
    frozenset(group.split())
    for group in (
        "es ca pt gl it", "da no sv is", "de nl", "ru uk be bg sr", "hr sr sl bg", "cs sk pl", "id ms", "hi ur bn",
        "lv lt", "et fi", "fa ar", "tr mn", "zh th vi", "ja ko", "ta te", "ga cy", "ro it",
    )
)  # fmt: skip


def language(code: str | None) -> str | None:
    """The English name of a language by its code, whatever the region: "zh-CN" is Chinese; None if it is not
    known.
    """
    return LANGUAGES.get(_tongue(code))


def _tongue(code: str | None) -> str:
    return (code or "").replace("_", "-").partition("-")[0].casefold()


def translation_of_line(ctx: Context) -> Iterator[Draft]:
    """What does the speaker say, in the language of the translation? Wrong choices are translations of other
    lines.
    """
    tongue = language(ctx.scene.translated_to)
    if not tongue:
        return
    for index in ctx.shuffled(i for i, t in enumerate(ctx.scene.turns) if _askable(ctx, t)):
        who = _who(ctx, index)
        if who:
            yield _draft(ctx, index, who, tongue)


def _askable(ctx: Context, turn: Turn) -> bool:
    low, high = WORDS
    words = length(clean(turn.translation or ""))
    long = turn.end_ms - turn.start_ms >= MIN_TURN_MS
    return long and low <= words <= high and ctx.covered(turn) <= 0.5


def _who(ctx: Context, index: int) -> tuple[str, str] | None:
    """Whose turn it is and which of theirs, without its words: these would give the answer away. None if
    unclear.
    """
    if len(ctx.scene.turns) == 1:
        return "the speaker", ""
    speaker = ctx.scene.turns[index].speaker
    own = ctx.turns_of(speaker)
    if not ctx.numbered or own[0] != index:
        return None
    many = len(ctx.speakers) > 1
    who = f"the {ordinal(speaker)} person to speak" if many else "the speaker"
    return who, " first" if len(own) > 1 else ""


def _draft(ctx: Context, index: int, who: tuple[str, str], tongue: str) -> Draft:
    turn = ctx.scene.turns[index]
    name, first = who
    meaning = clean(turn.translation or "")
    evidence = ctx.turn_evidence([index])
    at = span(interval(turn))
    said = f"says {excerpt(turn.text)} at {at}" if normal(turn.text) else f"speaks at {at}"
    return Draft(
        texts=(
            f"What does {name} say{first}, in {tongue}?",
            f"Which of these says in {tongue} what {name} says{first}?",
            f"How would one put into {tongue} what {name} says{first}?",
            f"In {tongue}, what is the meaning of what {name} says{first}?",
        ),
        answer=f'"{meaning}"',
        decoys=tuple(f'"{text}"' for text in _other_meanings(ctx, index, meaning)),
        evidence=evidence,
        plan=ctx.pick(
            f"understand what {name} says{first} and put it into {tongue}",
            f"listen to what {name} says{first} and find the choice that says the same in {tongue}",
        ),
        reasoning=ctx.pick(
            f"Speaker {turn.speaker} {said}; in {tongue} that is {excerpt(meaning)}.",
            f"Speaker {turn.speaker} {said}, which, put into {tongue}, means {excerpt(meaning)}.",
        ),
        weigh=_weigh(ctx),
        margin=ctx.margin(evidence, 1.0 - ctx.covered(turn), words=True),
    )


def _other_meanings(ctx: Context, index: int, meaning: str) -> list[str]:
    """Translations of other turns, then of other clips, of these the ones nearest in length; none like the
    answer.
    """
    here = [clean(t.translation) for i, t in enumerate(ctx.scene.turns) if i != index and t.translation]
    near = sorted(map(clean, ctx.other_clips.foreign), key=lambda text: (abs(len(text) - len(meaning)), text))
    chosen: list[str] = []
    for text in [*ctx.shuffled(here), *near]:
        if normal(text) and not any(_alike(text, other) for other in (meaning, *chosen)):
            chosen.append(text)
    return chosen


def _alike(a: str, b: str) -> bool:
    """Whether two translations may say the same."""
    first, second = normal(a), normal(b)
    return same(first, second) or same(second, first)


def _weigh(ctx: Context) -> Callable[[Sequence[str]], str]:
    """Why translations are wrong: somebody says that elsewhere, or nobody does."""

    def weigh(decoys: Sequence[str]) -> str:
        known = {f'"{clean(t.translation)}"': t for t in ctx.scene.turns if t.translation}
        told = [
            f"{excerpt(d, 4)} is what speaker {known[d].speaker} says at {seconds(known[d].start_ms)}"
            for d in sorted((d for d in decoys if d in known), key=lambda d: known[d].start_ms)
        ]
        missing = any(d not in known for d in decoys)
        rest = ctx.pick("Nobody says anything else that is offered.", "The rest is not said at any point.")
        if not told:
            rest = ctx.pick(
                "None of the other choices is said at any point.", "The other choices say something else."
            )
        return " ".join([*[clauses(told) + "."] * bool(told), *[rest] * missing])

    return weigh


def spoken_language(ctx: Context) -> Iterator[Draft]:
    """Which language is spoken? Asked where a source translates it: it says so itself then."""
    code, target = _tongue(ctx.scene.language), _tongue(ctx.scene.translated_to)
    found = language(code)
    if not found or target in ("", code) or not any(t.translation for t in ctx.scene.turns):
        return
    if total(ctx.speech) < MIN_TURN_MS:
        return
    evidence = ctx.turn_evidence(i for i, t in enumerate(ctx.scene.turns) if t.translation)
    at = spans([interval(ctx.scene.turns[e.index]) for e in evidence])
    yield Draft(
        texts=(
            "Which language is spoken?",
            "In which language does the speaker talk?"
            if len(ctx.speakers) == 1
            else "In which language do they talk?",
            "What is the language of the speech in this recording?",
            "Which of these languages can be heard?",
        ),
        answer=found,
        decoys=_other_languages(ctx, code, target),
        evidence=evidence,
        plan=ctx.pick(
            "recognise the language by its words and sounds", "listen for words that tell the language"
        ),
        reasoning=ctx.pick(
            f"The words spoken at {at} are {found}.", f"What is said at {at} is said in {found}."
        ),
        weigh=lambda decoys: ctx.pick(
            f"Nothing of it is {listing(decoys, 'or')}.", f"It does not sound like {listing(decoys, 'or')}."
        ),
        margin=ctx.margin(evidence),
    )


def _other_languages(ctx: Context, code: str, target: str) -> tuple[str, ...]:
    """The language of the translation and common ones; none that may be taken for the answer."""
    codes = ctx.shuffled(dict.fromkeys(c for c in (target, *OFFERED) if c in LANGUAGES))
    return tuple(LANGUAGES[c] for c in codes if c != code and not any({c, code} <= group for group in NEAR))


TEMPLATES = (
    QuestionTemplate(
        "translation_of_line", "translation", "speaker", translation_of_line, labelled=True, none=True
    ),
    QuestionTemplate(
        "spoken_language", "translation", "speaker", spoken_language, closed=True, labelled=True
    ),
)
