"""The rationale grammar: `render` writes it, `parse` reads it, `perceive` is what both must agree on.

    <THINK><PLANNING>..</PLANNING>
    <CAPTION><ENV>..</ENV><SPEAKER>..</SPEAKER><ASR>..</ASR><DESCRIPTION>..</DESCRIPTION></CAPTION>
    <REASONING>..</REASONING><SUMMARY>..</SUMMARY></THINK>
    <RESPONSE>(B) exact choice text</RESPONSE>, or <RESPONSE>answer</RESPONSE> without a letter
    [<REFLECT>..</REFLECT><FINAL_ANSWER>(C) exact choice text</FINAL_ANSWER>]

A brief rationale has no PLANNING, ASR, DESCRIPTION and SUMMARY.

ENV has one line per event, `Rooster [1.20-3.40 s]`, then one per span in which it is not clear whether
something sounds, `(unclear) [1.20-3.40 s]`; SPEAKER one per turn, `Speaker 1 [0.20-2.15 s]:
"Hello."`, the text being a JSON string. Times have two decimals, three off the 10 ms grid. Labels, transcript
and choices are plain text, save that angle brackets, backslashes and invisible characters become JSON
escapes: no text can forge a tag.

A mistake of perception stands in CAPTION itself. REFLECT then corrects its lines, one correction a line:
`ENV: Bark [1.20-3.40 s] -> Bark [5.20-6.40 s]`, or with `nothing` on one side. No prose contains `->`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from paqa.errors import PaqaError
from paqa.rationale import narration
from paqa.rationale.corrections import (
    Correction,
    CorrectionError,
    Corrections,
    Line,
    corrected,
    corrections_between,
    transcript_of,
)
from paqa.rationale.escaping import escape, tagless, unescape
from paqa.rationale.trace import Quote, Reading, Response, Sound, Trace
from paqa.spans import Interval
from paqa.types import Item, Question, Scene, Unclear

NO_SOUND = "No background sound stands out."
NO_SPEECH = "Nobody speaks."
NO_WORDS = "No words can be made out."
UNCLEAR = "(words not made out)"
NOTHING = "nothing"  # stands for no line in a correction
UNCLEAR_SOUND = "(unclear)"

# The tags that hold text, in order.
LEAVES = (
    "PLANNING", "ENV", "SPEAKER", "ASR", "DESCRIPTION", "REASONING", "SUMMARY", "RESPONSE", "REFLECT",
    "FINAL_ANSWER",
)  # fmt: skip
RESPONSE_TAGS = ("REASONING", "SUMMARY", "RESPONSE")  # lead to the first response
NOT_IN_BRIEF = ("PLANNING", "ASR", "DESCRIPTION", "SUMMARY")
SKELETON = (
    "<THINK>", "<PLANNING>", "</PLANNING>", "<CAPTION>", "<ENV>", "</ENV>", "<SPEAKER>", "</SPEAKER>",
    "<ASR>", "</ASR>", "<DESCRIPTION>", "</DESCRIPTION>", "</CAPTION>", "<REASONING>", "</REASONING>",
    "<SUMMARY>", "</SUMMARY>", "</THINK>", "<RESPONSE>", "</RESPONSE>",
)  # fmt: skip
REFLECTION = ("<REFLECT>", "</REFLECT>", "<FINAL_ANSWER>", "</FINAL_ANSWER>")
BRIEF_SKELETON = tuple(tag for tag in SKELETON if tag.strip("</>") not in NOT_IN_BRIEF)

_TAG = re.compile(rf"</?(?:THINK|CAPTION|BGM|{'|'.join(LEAVES)})>")
_TIME = r"([0-9]{1,9})\.([0-9]{2,3})"
_SOUND = re.compile(rf"(?:(.*) )?\[{_TIME}-{_TIME} s\]")
_QUOTE = re.compile(rf"Speaker ([1-9][0-9]{{0,8}}) \[{_TIME}-{_TIME} s\]: (.*)")
_CORRECTION = re.compile(r"(ENV|SPEAKER): (.+?) -> (.+)")
_RESPONSE = re.compile(r"\(([A-Z])\) (.+)")
_BY_LETTER = re.compile(r"<RESPONSE>\s*\([A-Z]\) ")


@dataclass(frozen=True)
class Reflection:
    """A wrong first response with its argument and summary, and the REFLECT that corrects it.

    `origin` is what `Item.reflection` says of it. `scene` is what was perceived at first, None where the
    caption is right. REFLECT says by `mistake` what went wrong, corrects the caption, argues by `argument`.
    """

    origin: str
    index: int
    reasoning: str
    summary: str
    mistake: str
    argument: str
    scene: Scene | None = None


class GrammarError(PaqaError):
    """A rationale that does not keep to the grammar; the message names the tag."""


Perceived = tuple[tuple[Sound, ...], tuple[Unclear, ...], tuple[Quote, ...], str]


def perceive(scene: Scene) -> Perceived:
    """What a rationale has to say about a scene: sounds, unclear background, who said what, transcript."""
    sounds = tuple(Sound(e.start_ms, e.end_ms, e.label) for e in scene.events)
    quotes = tuple(Quote(t.start_ms, t.end_ms, t.speaker, t.text) for t in scene.turns)
    return sounds, scene.unclear, quotes, scene.transcript


def perceived(trace: Trace) -> Perceived:
    """What a rationale does say, to be compared with `perceive`."""
    return trace.env, trace.unclear, trace.speakers, trace.asr


def reading_of(scene: Scene) -> Reading:
    """The reading of a caption that states a scene."""
    sounds, _, quotes, transcript = perceive(scene)
    return Reading(sounds, quotes, transcript)


def render(
    scene: Scene,
    question: Question,
    variant: int = 0,
    reflection: Reflection | None = None,
    brief: bool = False,
    letters: bool = True,
) -> str:
    """The rationale of a question; `variant`, its number within the clip, decides how it begins.

    Without `letters` choices are named by their words alone, as they have to be in the reflection.
    With a reflection, what it perceived at first is the caption, and its wrong choice comes first.
    """
    first_scene = reflection.scene if reflection and reflection.scene else scene
    sounds, unclear, quotes, transcript = perceive(first_scene)
    plan_scene = first_scene if first_scene.events else scene  # a plan may say that there is no background
    leaf = {
        "PLANNING": tagless(narration.planning(plan_scene, question, variant)),
        "ENV": "\n".join([*map(_sound_line, sounds), *map(_unclear_line, unclear)]) or NO_SOUND,
        "SPEAKER": "\n".join(_speaker_line(q) for q in quotes) or NO_SPEECH,
        "ASR": escape(transcript, NO_WORDS) or NO_WORDS,
        "DESCRIPTION": tagless(narration.description(first_scene, question)),
        "REASONING": tagless(reflection.reasoning if reflection else narration.reasoning(question, letters)),
        "SUMMARY": tagless(reflection.summary if reflection else narration.summary(scene, question)),
        "RESPONSE": response(question.answer_index if letters else None, question.answer),
    }
    if reflection:
        leaf |= {"REFLECT": _reflect_text(reflection, scene), "FINAL_ANSWER": leaf["RESPONSE"]}
        leaf["RESPONSE"] = response(reflection.index if letters else None, question.choices[reflection.index])

    def lines(*tags: str) -> str:
        kept = (tag for tag in tags if not (brief and tag in NOT_IN_BRIEF))
        return "\n".join(leaf[tag] if tag == "CAPTION" else f"<{tag}>{leaf[tag]}</{tag}>" for tag in kept)

    leaf["CAPTION"] = f"<CAPTION>{lines('ENV', 'SPEAKER', 'ASR', 'DESCRIPTION')}</CAPTION>"
    think = f"<THINK>{lines('PLANNING', 'CAPTION', 'REASONING', 'SUMMARY')}</THINK>"
    return f"{think}\n{lines('RESPONSE', *(('REFLECT', 'FINAL_ANSWER') if reflection else ()))}"


def parse(text: str, letters: bool = True) -> Trace:
    """Read a rationale, brief or not. Strict: every tag once, in order, closed, not empty, nothing outside.

    Both readings are read, the caption's and what REFLECT makes of it. `letters` says whether answers begin
    with the letter of a choice; it is never guessed from prose. Raises GrammarError. What a brief one leaves
    out is "", its transcript that of SPEAKER.
    """
    leaf = dict.fromkeys(NOT_IN_BRIEF, "") | _leaves(text)
    brief = not leaf["PLANNING"]
    reflected = "REFLECT" in leaf
    background = () if leaf["ENV"] == NO_SOUND else tuple(parse_sound(line) for line in _lines(leaf["ENV"]))
    speaker_lines = [] if leaf["SPEAKER"] == NO_SPEECH else _lines(leaf["SPEAKER"])
    quotes = tuple(map(parse_quote, speaker_lines))
    words = "" if leaf["ASR"] == NO_WORDS else unescape(leaf["ASR"])
    first = Reading(
        env=tuple(s for s in background if isinstance(s, Sound)),
        speakers=quotes,
        asr=transcript_of(quotes) if brief else words,
    )
    last = _corrected(first, leaf["REFLECT"]) if reflected else first
    return Trace(
        planning=leaf["PLANNING"],
        env=last.env,
        unclear=tuple(s for s in background if isinstance(s, Unclear)),
        speakers=last.speakers,
        asr=last.asr,
        description=leaf["DESCRIPTION"],
        reasoning=leaf["REASONING"],
        summary=leaf["SUMMARY"],
        response=parse_response(leaf["RESPONSE"], letters),
        first=first,
        reflect=leaf["REFLECT"] if reflected else None,
        final=parse_response(leaf["FINAL_ANSWER"], letters) if reflected else None,
    )


def trace_of(item: Item) -> Trace:
    """Read the rationale of a row. Raises GrammarError."""
    return parse(item.rationale, by_letter(item.choices, item.rationale))


def mistaken_tags(trace: Trace, scene: Scene, question: Question) -> tuple[str, ...]:
    """The tags of a reflected rationale that hold its mistake and what follows from it; () of another one."""
    if trace.reflect is None:
        return ()
    tags = corrected_tags(trace)
    if trace.description and trace.description != tagless(narration.description(scene, question)):
        tags = (*tags, "DESCRIPTION")
    return (*tags, *response_tags(trace))


def response_tags(trace: Trace) -> tuple[str, ...]:
    """The tags that lead to the first response."""
    return tuple(tag for tag in RESPONSE_TAGS if trace.planning or tag not in NOT_IN_BRIEF)


def is_brief(text: str) -> bool:
    """Whether a rationale has no tag that a brief one leaves out."""
    return not any(f"<{tag}>" in text for tag in NOT_IN_BRIEF)


def by_letter(choices: Sequence[str], text: str) -> bool:
    """Whether the answers of a rationale begin with the letter of a choice: never where there are none."""
    return bool(choices) and _BY_LETTER.search(text) is not None


def corrected_tags(trace: Trace) -> tuple[str, ...]:
    """The tags among ENV, SPEAKER and ASR in which the caption differs from the corrected reading."""
    pairs = {
        "ENV": (trace.first.env, trace.env),
        "SPEAKER": (trace.first.speakers, trace.speakers),
        "ASR": (trace.first.asr, trace.asr),
    }
    differing = (tag for tag, (stated, right) in pairs.items() if stated != right)
    return tuple(tag for tag in differing if trace.planning or tag not in NOT_IN_BRIEF)


def content_spans(text: str, tags: Sequence[str]) -> list[Interval]:
    """Where the contents of these tags begin and end in a rationale, in characters."""
    matches = (re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in tags)
    return [match.span(1) for match in matches if match]


def without_corrections(reflect: str) -> str:
    """The prose of a REFLECT, without the lines that correct the caption."""
    return "\n".join(line for line in reflect.split("\n") if not _CORRECTION.fullmatch(line.strip()))


def response(index: int | None, text: str) -> str:
    """`(B) exact choice text`, or the text alone where there is no index."""
    return escape(text) if index is None else f"{letter(index)} {escape(text)}"


def parse_response(text: str, letters: bool = True) -> Response:
    """Read `(B) exact choice text`, or any text where answers have no letters.

    Raises GrammarError on anything else.
    """
    if not letters and text.strip():
        return Response(None, unescape(text.strip()))
    match = _RESPONSE.fullmatch(text.strip())
    if not match:
        raise GrammarError(f"expected '(B) text of the choice', found {text.strip()[:60]!r}")
    return Response(ord(match[1]) - ord("A"), unescape(match[2]))


def parse_sound(line: str) -> Sound | Unclear:
    """Read a line of ENV. Raises GrammarError."""
    match = _SOUND.fullmatch(line)
    if not match:
        raise GrammarError(f"<ENV>: expected 'Label [1.20-3.40 s]', found {line[:60]!r}")
    start_ms, end_ms = _ms(match[2], match[3]), _ms(match[4], match[5])
    if match[1] == UNCLEAR_SOUND:
        return Unclear(start_ms, end_ms)
    return Sound(start_ms, end_ms, unescape(match[1] or ""))


def parse_quote(line: str) -> Quote:
    """Read a line of SPEAKER. Raises GrammarError."""
    match = _QUOTE.fullmatch(line)
    if not match:
        raise GrammarError(f"<SPEAKER>: expected 'Speaker 1 [1.20-3.40 s]: \"text\"', found {line[:60]!r}")
    return Quote(_ms(match[2], match[3]), _ms(match[4], match[5]), int(match[1]), _spoken_text(match[6]))


def letter(index: int) -> str:
    """`(A)` for 0."""
    return f"({chr(ord('A') + index)})"


def _reflect_text(reflection: Reflection, scene: Scene) -> str:
    """What went wrong, the corrections of the caption, one a line, and the argument from what is right."""
    corrections = corrections_between(reading_of(reflection.scene or scene), reading_of(scene))
    lines = [f"ENV: {_correction_line(c, _sound_line)}" for c in corrections.env]
    lines += [f"SPEAKER: {_correction_line(c, _speaker_line)}" for c in corrections.speakers]
    if not lines:
        return tagless(f"{reflection.mistake} {reflection.argument}")
    return "\n".join([tagless(reflection.mistake), *lines, tagless(reflection.argument)])


def _correction_line(correction: Correction[Line], line: Callable[[Line], str]) -> str:
    withdrawn = line(correction.withdrawn) if correction.withdrawn else NOTHING
    return f"{withdrawn} -> {line(correction.instead) if correction.instead else NOTHING}"


def _corrected(first: Reading, reflect: str) -> Reading:
    """The reading that the corrections in REFLECT make of that of the caption."""
    matches = [match for line in _lines(reflect) if (match := _CORRECTION.fullmatch(line))]
    try:
        env = [_correction(m, _certain_sound) for m in matches if m[1] == "ENV"]
        speakers = [_correction(m, parse_quote) for m in matches if m[1] == "SPEAKER"]
        return corrected(first, Corrections(tuple(env), tuple(speakers)))
    except (GrammarError, CorrectionError) as error:
        raise GrammarError(f"<REFLECT>: {error}") from None


def _certain_sound(line: str) -> Sound:
    sound = parse_sound(line)
    if isinstance(sound, Unclear):
        raise GrammarError(f"expected a sound, found {line[:60]!r}, which states none")
    return sound


def _correction(match: re.Match[str], read: Callable[[str], Line]) -> Correction[Line]:
    withdrawn, instead = (None if side == NOTHING else read(side) for side in match.groups()[1:])
    return Correction(withdrawn, instead)


def _sound_line(sound: Sound) -> str:
    return f"{escape(sound.label, UNCLEAR_SOUND)} {_stamp(sound.start_ms, sound.end_ms)}".strip()


def _unclear_line(span: Unclear) -> str:
    return f"{UNCLEAR_SOUND} {_stamp(span.start_ms, span.end_ms)}"


def _speaker_line(quote: Quote) -> str:
    words = f'"{escape(quote.text).replace(chr(34), chr(92) + chr(34))}"' if quote.text else UNCLEAR
    return f"Speaker {quote.speaker} {_stamp(quote.start_ms, quote.end_ms)}: {words}"


def _stamp(start_ms: int, end_ms: int) -> str:
    return f"[{_time(start_ms)}-{_time(end_ms)} s]"


def _time(ms: int) -> str:
    fraction = f"{ms % 1000:03d}"
    return f"{ms // 1000}.{fraction.removesuffix('0') if ms % 10 == 0 else fraction}"


def _ms(whole: str, fraction: str) -> int:
    return int(whole) * 1000 + int(fraction.ljust(3, "0"))


def _lines(block: str) -> list[str]:
    return [line.strip() for line in block.split("\n") if line.strip()]


def _spoken_text(text: str) -> str:
    if text == UNCLEAR:
        return ""
    try:
        words = json.loads(text) if text.startswith('"') else None
    except ValueError:
        words = None
    if not isinstance(words, str):
        raise GrammarError(f"<SPEAKER>: expected the words as one JSON string, found {text[:60]!r}")
    return words


def _leaves(text: str) -> dict[str, str]:
    """The contents of the innermost tags, after checking the structure."""
    tags = list(_TAG.finditer(text))
    names = _without_aliases([m[0] for m in tags])
    expected = BRIEF_SKELETON if is_brief(text) else SKELETON
    if any(name in names for name in REFLECTION):
        expected += REFLECTION
    if tuple(names) != expected:
        raise GrammarError(_structure_error(names, expected))
    leaves = {}
    bounds = [0, *(m.end() for m in tags)]
    for i, name in enumerate([*names, "the end"]):
        content = text[bounds[i] : tags[i].start() if i < len(tags) else len(text)].strip()
        if name[2:-1] in LEAVES and name.startswith("</"):
            leaves[name[2:-1]] = content
            if not content:
                raise GrammarError(f"<{name[2:-1]}> is empty")
        elif content:
            raise GrammarError(f"text outside of the tags, before {name}: {content[:60]!r}")
    return leaves


def _without_aliases(tags: list[str]) -> list[str]:
    """The tags with the alias <BGM> ... </BGM> read as <ENV>."""
    if tags.count("<BGM>") == tags.count("</BGM>"):
        return [t.replace("BGM>", "ENV>") for t in tags]
    return tags


def _structure_error(names: Sequence[str], expected: Sequence[str]) -> str:
    for tag in expected:
        if names.count(tag) != 1:
            return f"{tag} is missing" if tag not in names else f"{tag} occurs {names.count(tag)} times"
    wrong = next((name for name, tag in zip(names, expected, strict=False) if name != tag), names[-1])
    return f"{wrong} is misplaced"
