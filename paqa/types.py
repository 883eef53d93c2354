"""The data of the walk: frozen dataclasses, nothing else.

Times are integer milliseconds from the start of the clip, half open `[start_ms, end_ms)`.
Speakers are numbers by first appearance: speaker 1 speaks first.
`schemas/*.schema.json` is generated from these classes (`make schemas`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

from msgspec import Meta

if TYPE_CHECKING:
    import numpy as np

Ms = Annotated[int, Meta(ge=0, description="milliseconds from the start of the clip")]
Unit = Annotated[float, Meta(ge=0.0, le=1.0)]
SpeakerNumber = Annotated[int, Meta(ge=1, description="speakers are numbered by first appearance")]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Identifier = Annotated[str, Meta(min_length=1, max_length=200)]
Groups = Annotated[tuple[str, ...], Meta(min_length=1)]
Split = Literal["train", "validation", "test"]
Stem = Literal["mix", "speech", "background"]
Stage = Literal["separate", "diarize", "tag", "transcribe"]
Device = Literal["cpu", "cuda"]  # a kind of device
AnswersFrom = Literal["truth", "heard"]
TruthPart = Literal["turns", "events"]


class Spanned(Protocol):
    """Anything with a time span."""

    @property
    def start_ms(self) -> int: ...
    @property
    def end_ms(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Audio:
    """Samples, float32 `(channels, n)` in [-1, 1], at `rate` Hz."""

    samples: np.ndarray
    rate: int

    @property
    def duration_ms(self) -> int:
        n: int = self.samples.shape[1]
        return round(n * 1000 / self.rate)


@dataclass(frozen=True)
class Turn:
    """One stretch of speech by one speaker; turns of different speakers may overlap.

    `emotion` ("joy") and `translation` (the text in `Scene.translated_to`) are labels that a source gave.
    `level_db` (RMS in dBFS) and `pitch_hz` (median F0) are measured on the speech without the background.
    `score` is the diarizer's own certainty about the speaker, None where it has none; `confidence` is the
    calibrated probability that this speaker speaks there (1 in truth).
    """

    start_ms: Ms
    end_ms: Ms
    speaker: SpeakerNumber
    text: str = ""
    emotion: str | None = None
    translation: str | None = None
    level_db: float | None = None
    pitch_hz: float | None = None
    score: Unit | None = None
    confidence: Unit = 1.0


@dataclass(frozen=True)
class Word:
    """One transcribed word; `speaker` is None where no turn covers it.

    `score` is the transcriber's own probability, `confidence` the calibrated one that it was said (both 1 in
    truth).
    """

    start_ms: Ms
    end_ms: Ms
    text: str
    speaker: SpeakerNumber | None = None
    score: Unit = 1.0
    confidence: Unit = 1.0


@dataclass(frozen=True)
class Event:
    """One occurrence of a sound; `mid` is the AudioSet machine id, `score` the tagger's own probability.

    `confidence` is the calibrated probability that a sound of this class is there, `span_confidence` that it
    begins and ends about there; all three are 1 in truth. `level_db` (RMS in dBFS) is measured on the
    background without the speech.
    """

    start_ms: Ms
    end_ms: Ms
    label: str
    mid: str
    score: Unit = 1.0
    level_db: float | None = None
    confidence: Unit = 1.0
    span_confidence: Unit = 1.0


@dataclass(frozen=True)
class Tag:
    """The clip-level probability of one AudioSet class."""

    mid: str
    score: Unit


@dataclass(frozen=True)
class HeardBy:
    """Which engine, at which revision, did a stage; `weights` are the SHA-256s of the files of its networks.

    What it computed on is part of the revision where that was no CPU: `2/0f1e2d3c@cuda/float16`. Weights that
    are a folder count as one: the digest of the list of their files, as `checkpoints.digest` makes it.
    """

    stage: Stage
    engine: str
    revision: str
    weights: tuple[Sha256, ...] = ()


@dataclass(frozen=True)
class Disagreement:
    """Two hearings of the same span that differ, e.g. the words on the mix and on the speech stem."""

    stage: Stage
    start_ms: Ms
    end_ms: Ms
    first: str
    second: str


@dataclass(frozen=True)
class Unclear:
    """A span in which something may sound in the background, but it is not clear what, or whether."""

    start_ms: Ms
    end_ms: Ms


@dataclass(frozen=True)
class Scene:
    """Everything known about one clip: who said what when, and what sounded. Lists are in order of start.

    `snr_db` is speech RMS over background RMS in dB, None where one of the two is absent or unknown.
    `language` is that of the speech, `translated_to` that of the turns' translations, both as codes ("en").
    `speaker_count_confidence` is the calibrated probability that the number of speakers is right,
    `background_confidence` that no sound is missing from `events` (both 1 in truth). Nothing is claimed about
    the background within the spans of `unclear`.
    """

    clip_id: Identifier
    duration_ms: Ms
    turns: tuple[Turn, ...] = ()
    words: tuple[Word, ...] = ()
    events: tuple[Event, ...] = ()
    language: str | None = None
    translated_to: str | None = None
    snr_db: float | None = None
    heard_by: tuple[HeardBy, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()
    speaker_count_confidence: Unit = 1.0
    background_confidence: Unit = 1.0
    unclear: tuple[Unclear, ...] = ()

    @property
    def speakers(self) -> int:
        """The number of different speakers."""
        return len({turn.speaker for turn in self.turns})

    @property
    def transcript(self) -> str:
        """The texts of all turns in order of start."""
        return " ".join(turn.text for turn in self.turns if turn.text)


@dataclass(frozen=True)
class Evidence:
    """A reference to a row of the scene: the n-th turn, word or event."""

    kind: Literal["turn", "word", "event"]
    index: Annotated[int, Meta(ge=0)]


@dataclass(frozen=True)
class Question:
    """A question about one clip, with what it rests on.

    An open-ended one has no choices, no `answer_index`, and its answer as `open_answer`. `plan` (an
    infinitive phrase: what has to be listened for) and `reasoning` (the argument from the cited evidence to
    the answer) are the template's own words about this clip. `margin` in [0, 1] says how safe the perception
    is.
    """

    id: Identifier
    clip_id: Identifier
    task: str
    template: str
    text: str
    choices: tuple[str, ...]
    answer_index: Annotated[int, Meta(ge=0)] | None
    evidence: tuple[Evidence, ...]
    plan: str
    reasoning: str
    margin: Unit = 1.0
    open_answer: str = ""

    @property
    def answer(self) -> str:
        return self.open_answer if self.answer_index is None else self.choices[self.answer_index]


@dataclass(frozen=True)
class GivenQuestion:
    """A multiple-choice question that a source brings along, about the whole recording."""

    id: Identifier
    task: str
    text: str
    choices: tuple[str, ...]
    answer_index: Annotated[int, Meta(ge=0)]


@dataclass(frozen=True)
class Recording:
    """What a source yields: one file to listen to, before it has been opened.

    `uri` is a path or `package:NAME/FILE` (a file inside an installed Python package). `groups` name what
    must never be split between train and test (the recording, the speakers); the first decides the side.
    `voice` names the speaker of an utterance, for mixing, and `author` whom the licence wants named. Truth
    and given questions, where the source has them, are about the whole file; `truth_covers` says of what
    truth lists all there is, so that none of it means that there is none.
    """

    id: Identifier
    uri: str
    source: str
    license: str
    groups: Groups
    answers: AnswersFrom = "heard"
    truth: Scene | None = None
    voice: str | None = None
    questions: tuple[GivenQuestion, ...] = ()
    author: str = ""
    truth_covers: tuple[TruthPart, ...] = ()


@dataclass(frozen=True)
class Origin:
    """A piece of a recording that is heard in a row: where it is from, and under which licence.

    `role` is "recording" where the row's audio is this piece, else what it was mixed in as. `recording` and
    `uri` are its id and place in the recipe's source `corpus` (recipe.json, beside the build, says where that
    lies). `sha256` is the digest of the decoded samples from `offset_ms` on: who has the file can find the
    piece again and prove it.
    """

    role: Literal["recording", "voice", "sound"]
    corpus: str
    recording: Identifier
    uri: str
    offset_ms: Ms
    duration_ms: Ms
    sha256: Sha256
    source: str
    license: str
    author: str = ""


@dataclass(frozen=True)
class Clip:
    """A decoded clip of at most the recipe's length: the unit of all later work.

    `corpus` is the recipe's name of the source or mix it belongs to. `sha256` is the digest of its 16-bit
    samples and rate, the root of every store key; `offset_ms` is where it starts in `uri`; `reference_sha256`
    names the clean speech of a mixed clip (for SI-SDR). `context` holds the digests of the neighbouring clips
    of the same recording, in order and this one among them at index `place`, where the separator wants to
    hear more than the clip. `origins` lists every recording that is heard in it. `truth_covers` is the
    recording's. `listen` is false where no engine runs: the truth is all that is known of the clip.
    """

    id: Identifier
    uri: str
    sha256: Sha256
    duration_ms: Ms
    rate: Annotated[int, Meta(ge=1)]
    corpus: str
    source: str
    license: str
    groups: Groups
    split: Split
    answers: AnswersFrom = "heard"
    offset_ms: Ms = 0
    truth: Scene | None = None
    voice: str | None = None
    reference_sha256: Sha256 | None = None
    questions: tuple[GivenQuestion, ...] = ()
    context: tuple[Sha256, ...] = ()
    place: Annotated[int, Meta(ge=0)] = 0
    origins: tuple[Origin, ...] = ()
    truth_covers: tuple[TruthPart, ...] = ()
    listen: bool = True


@dataclass(frozen=True)
class Quarantined:
    """What did not make it: a recording, clip or question, with the stage and the reason."""

    id: str
    stage: str
    reason: str
    detail: str
    fingerprint: str


@dataclass(frozen=True)
class Item:
    """One row of the dataset, without the audio bytes (shard.py adds `audio {bytes, path}`).

    `reflection` says where the wrong first response of a reflected row comes from and what went wrong:
    "heard:missed_event" really was misheard by an engine, "typed:missed_event" is made up after that
    type. `mistaken` names the tags of the rationale that hold the mistake and what follows from it, so
    that a trainer can leave them out of its loss: REFLECT takes them back. An open-ended row has no
    choices and no `answer_index`. `difficulty` grows with the voices, the noise, the overlap, the sounds
    and the distance of the evidence; `subsets` are the named ones ("MSQA-hard") that the row belongs to.
    `origins` lists every recording that is heard, with its licence; `source` and `license` sum them up.
    `confidence` is the calibrated probability that the answer is right and the rationale states nothing
    false, 1 where truth answers, None where nobody has calibrated the engines. `key` is a digest of the
    audio and of all other columns but two: a row that another `paqa_version` or another `seed` of the
    recipe makes again, word for word, is the same row. (A shard's name follows its bytes, and so those
    two as well.)
    """

    id: Identifier
    clip_id: Identifier
    question: str
    choices: tuple[str, ...]
    answer: str
    answer_index: Annotated[int, Meta(ge=0)] | None
    task: str
    template: str
    rationale: str
    scene: Scene
    evidence: tuple[Evidence, ...]
    reflected: bool
    reflection: str | None
    audio_dependence: float | None
    source: str
    license: str
    groups: Groups
    split: Split
    answers_from: AnswersFrom
    heard_by: tuple[HeardBy, ...]
    key: Sha256
    difficulty: Unit = 0.0
    subsets: tuple[str, ...] = ()
    origins: tuple[Origin, ...] = ()
    confidence: Unit | None = None
    mistaken: tuple[str, ...] = ()
    seed: int = 0
    paqa_version: str = ""
