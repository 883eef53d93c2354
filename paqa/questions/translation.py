"""What is said in another language, and which language is spoken: asked where a source has translations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from paqa.questions.context import MIN_TURN_MS, Context, says_same
from paqa.questions.english import clauses, excerpt, listing, ordinal, seconds, span, spans
from paqa.questions.template import Draft, QuestionTemplate
from paqa.spans import interval, total
from paqa.text import clean, length, normal
from paqa.types import Turn

WORDS = (2, 40)  # shorter translations say too little, longer ones cannot be kept in mind
LANGUAGES = dict(
    pair.split("=")
    for pair in """ar=Arabic|be=Belarusian|bg=Bulgarian|bn=Bengali|ca=Catalan|cs=Czech|cy=Welsh|da=Danish
    |de=German|el=Greek|en=English|es=Spanish|et=Estonian|eu=Basque|fa=Persian|fi=Finnish|fr=French|ga=Irish
    |gl=Galician|he=Hebrew|hi=Hindi|hr=Croatian|hu=Hungarian|id=Indonesian|is=Icelandic|it=Italian
    |ja=Japanese|ka=Georgian|ko=Korean|lt=Lithuanian|lv=Latvian|mn=Mongolian|ms=Malay|nl=Dutch|no=Norwegian
    |pl=Polish|pt=Portuguese|ro=Romanian|ru=Russian|sk=Slovak|sl=Slovenian|sr=Serbian|sv=Swedish|sw=Swahili
    |ta=Tamil|te=Telugu|th=Thai|tr=Turkish|uk=Ukrainian|ur=Urdu|vi=Vietnamese
    |zh=Chinese""".replace("\n    ", "").split("|")
)
OFFERED = "ar de en es fa fr hi it ja ko nl pl pt ru sv ta tr zh".split()  # noqa: SIM905
NEAR = tuple(
    frozenset(group.split())
    for group in (
        "es ca pt gl it", "da no sv is", "de nl", "ru uk be bg sr", "hr sr sl bg", "cs sk pl", "id ms",
        "hi ur bn", "lv lt", "et fi", "fa ar", "tr mn", "zh th vi", "ja ko", "ta te", "ga cy", "ro it",
    )
)  # fmt: skip


def language(code: str | None) -> str | None:
    """The English name of a language by its code, in any region ("zh-CN" is Chinese); None if unknown."""
    return LANGUAGES.get(_language_code(code))


def _language_code(code: str | None) -> str:
    return (code or "").replace("_", "-").partition("-")[0].casefold()


def translation_of_line(ctx: Context) -> Iterator[Draft]:
    """What does the speaker say, in the language of the translation?

    Wrong choices are the translations of other lines.
    """
    language_name = language(ctx.scene.translated_to)
    if not language_name:
        return
    for index in ctx.shuffled(i for i, t in enumerate(ctx.scene.turns) if _askable(ctx, t)):
        who = _who(ctx, index)
        if who:
            yield _draft(ctx, index, who, language_name)


def _askable(ctx: Context, turn: Turn) -> bool:
    low, high = WORDS
    words = length(clean(turn.translation or ""))
    long = turn.end_ms - turn.start_ms >= MIN_TURN_MS
    return long and low <= words <= high and ctx.overlapped_share(turn) <= 0.5


def _who(ctx: Context, index: int) -> tuple[str, str] | None:
    """Whose turn it is and which of theirs, without its words: these would give the answer away.

    None where that is unclear.
    """
    if len(ctx.scene.turns) == 1:
        return "the speaker", ""
    speaker = ctx.scene.turns[index].speaker
    turns = ctx.turns_of(speaker)
    if not ctx.clear_numbers or turns[0] != index:
        return None
    many = len(ctx.speakers) > 1
    who = f"the {ordinal(speaker)} person to speak" if many else "the speaker"
    return who, " first" if len(turns) > 1 else ""


def _draft(ctx: Context, index: int, who: tuple[str, str], language_name: str) -> Draft:
    turn = ctx.scene.turns[index]
    name, first = who
    meaning = clean(turn.translation or "")
    evidence = ctx.turn_evidence([index])
    at = span(interval(turn))
    speech = f"says {excerpt(turn.text)} at {at}" if normal(turn.text) else f"speaks at {at}"
    return Draft(
        texts=(
            f"What does {name} say{first}, in {language_name}?",
            f"Which of these says in {language_name} what {name} says{first}?",
            f"How would one put into {language_name} what {name} says{first}?",
            f"In {language_name}, what is the meaning of what {name} says{first}?",
        ),
        answer=f'"{meaning}"',
        decoys=tuple(f'"{text}"' for text in _other_meanings(ctx, index, meaning)),
        evidence=evidence,
        plan=ctx.pick(
            f"understand what {name} says{first} and put it into {language_name}",
            f"listen to what {name} says{first} and find the choice that says the same in {language_name}",
        ),
        reasoning=ctx.pick(
            f"Speaker {turn.speaker} {speech}; in {language_name} that is {excerpt(meaning)}.",
            f"Speaker {turn.speaker} {speech}, which, put into {language_name}, means {excerpt(meaning)}.",
        ),
        why_wrong=_why_translations_wrong(ctx),
        margin=ctx.margin(evidence, 1.0 - ctx.overlapped_share(turn), words=True),
    )


def _other_meanings(ctx: Context, index: int, meaning: str) -> list[str]:
    """Translations of other turns, then of other clips by likeness in length; none like the answer."""
    here = [clean(t.translation) for i, t in enumerate(ctx.scene.turns) if i != index and t.translation]
    near = sorted(map(clean, ctx.other_clips.foreign), key=lambda text: (abs(len(text) - len(meaning)), text))
    chosen: list[str] = []
    for text in [*ctx.shuffled(here), *near]:
        if normal(text) and not any(_alike(text, taken) for taken in (meaning, *chosen)):
            chosen.append(text)
    return chosen


def _alike(a: str, b: str) -> bool:
    """Whether two translations may say the same."""
    first, second = normal(a), normal(b)
    return says_same(first, second) or says_same(second, first)


def _why_translations_wrong(ctx: Context) -> Callable[[Sequence[str]], str]:
    """Why translations are wrong: somebody says that elsewhere, or nobody does."""

    def why_wrong(decoys: Sequence[str]) -> str:
        turn_by_choice = {f'"{clean(t.translation)}"': t for t in ctx.scene.turns if t.translation}
        phrases = [
            f"{excerpt(d, 4)} is what speaker {turn_by_choice[d].speaker} says at"
            f" {seconds(turn_by_choice[d].start_ms)}"
            for d in sorted(
                (d for d in decoys if d in turn_by_choice), key=lambda d: turn_by_choice[d].start_ms
            )
        ]
        missing = any(d not in turn_by_choice for d in decoys)
        rest = ctx.pick("Nobody says anything else that is offered.", "The rest is not said at any point.")
        if not phrases:
            rest = ctx.pick(
                "None of the other choices is said at any point.", "The other choices say something else."
            )
        return " ".join([*[clauses(phrases) + "."] * bool(phrases), *[rest] * missing])

    return why_wrong


def spoken_language(ctx: Context) -> Iterator[Draft]:
    """Which language is spoken? Asked where a source translates it: it says so itself then."""
    code, target = _language_code(ctx.scene.language), _language_code(ctx.scene.translated_to)
    name = language(code)
    if not name or target in ("", code) or not any(t.translation for t in ctx.scene.turns):
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
        answer=name,
        decoys=_other_languages(ctx, code, target),
        evidence=evidence,
        plan=ctx.pick(
            "recognise the language by its words and sounds", "listen for words that tell the language"
        ),
        reasoning=ctx.pick(
            f"The words spoken at {at} are {name}.", f"What is said at {at} is said in {name}."
        ),
        why_wrong=lambda decoys: ctx.pick(
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
        "translation_of_line",
        "translation",
        "speaker",
        translation_of_line,
        labelled=True,
        none=True,
        rests_on=frozenset({"speaker"}),
    ),
    QuestionTemplate(
        "spoken_language",
        "translation",
        "speaker",
        spoken_language,
        closed=True,
        labelled=True,
        rests_on=frozenset(),
    ),
)
