"""One TOML file = one reproducible build. Unknown keys are errors.

A default exists once, here or beside its engine.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar, cast

import msgspec
from msgspec import Meta

from paqa.errors import PaqaError
from paqa.types import AnswersFrom, Device, Stage, Stem, Unit

T = TypeVar("T")
SET_BY_US = ("folder", "devices")  # fields of a Recipe that are no keys of the file
LONGEST_FILE = 1_000_000  # bytes of a recipe
Positive = Annotated[int, Meta(ge=1, le=10**9)]
Count = Annotated[int, Meta(ge=0, le=10**6)]
Seed = Annotated[int, Meta(ge=-(2**53), le=2**53)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$(?!\n)", max_length=80)]
Range = tuple[Annotated[float, Meta(ge=-60)], Annotated[float, Meta(le=60)]]
Counts = tuple[Count, Count]
Profile = Literal["embedded", "paper"]
Few = tuple[Annotated[int, Meta(ge=0, le=1000)], Annotated[int, Meta(ge=0, le=1000)]]
OpinionScore = Annotated[float, Meta(ge=0, le=5)]  # from 1, bad, to 5, excellent
Address = Annotated[str, Meta(pattern=r"^(https?://[^\s?#]+)?$(?!\n)", max_length=500)]
KeyName = Annotated[
    str, Meta(pattern=r"^([A-Z0-9_]*API_KEY)?$(?!\n)", max_length=80)
]  # a recipe sends no other
Names = str | tuple[str, ...]  # of sources; a constrained string in such a union crashes msgspec 0.22


@dataclass(frozen=True)
class SourceConfig:
    """Where recordings come from. `use = "material"` keeps them for mixing alone."""

    name: Name  # what mixes and rows call it
    type: str  # its layout: folder, jsonl, hub or another of docs/sources.md
    path: str  # relative to the recipe's folder
    use: Literal["clips", "material"] = "clips"  # to be asked about, or kept for mixing only
    answers: AnswersFrom = "heard"  # where answers come from when a recording has truth
    license: str = "unknown"  # for rows that state none
    limit: Positive | None = None  # at most this many rows, drawn by the digests of their ids
    group: Literal["recording", "folder"] = "recording"  # type folder: what is one split, file or sub-folder
    tasks: tuple[str, ...] = ()  # families of questions to ask about it, all of them where none is named
    params: dict[str, Any] = field(default_factory=dict)  # the source type's own, see its Params


@dataclass(frozen=True)
class MixConfig:
    """Scenes composed from material, with exact truth."""

    name: Name  # what its scenes' ids begin with
    scenes: Annotated[int, Meta(ge=1, le=10**7)]  # how many
    speech: Names | None = None  # one or more sources of utterances
    background: Names | None = None  # one or more sources of sounds
    speakers: Few = (1, 3)  # voices a scene, at least and at most, as all pairs here
    turns: Few = (2, 6)  # utterances a scene, at least one a speaker
    pause_ms: Counts = (150, 900)  # silence between turns
    overlap: Unit = 0.0  # share of speaker changes at which the next turn starts early
    overlap_ms: Counts = (200, 900)  # by how much
    sounds: Few = (1, 3)  # occurrences of background sounds
    repeat: Unit = 0.25  # share of scenes in which one sound is heard several times
    bed: Unit = 0.0  # share of dialogues over one continuous sound instead, cut to their length
    snr_db: Range = (0.0, 20.0)  # speech over background
    answers: AnswersFrom = "truth"  # where answers come from
    listen: bool = True  # run the engines on its scenes; with false their truth is all that is known of them
    words: bool = True  # what is said is known; with false turns have speakers and times alone
    tasks: tuple[str, ...] = ()  # families of questions to ask about its scenes; none: all of them

    def sources(self, role: Literal["speech", "background"]) -> tuple[str, ...]:
        """The names of the sources of a role, none where it has none."""
        names: Names | None = getattr(self, role)
        return (names,) if isinstance(names, str) else names or ()


@dataclass(frozen=True)
class AudioConfig:
    """The form every clip is brought into before anything listens."""

    rate: Annotated[int, Meta(ge=8000, le=48000)] = 16000  # Hz
    channels: Literal[1, 2] = 1  # mono or stereo
    max_clip_ms: Annotated[int, Meta(ge=1000, le=300_000)] = 30_000  # longer recordings are cut at silences
    min_clip_ms: Count = 500  # shorter ones are quarantined
    max_file_ms: Annotated[int, Meta(ge=1, le=48 * 3_600_000)] = 6 * 3_600_000  # longer files are refused


@dataclass(frozen=True)
class HearConfig:
    """One listening stage: which engine, on which stem, with which of its parameters changed.

    What a recipe leaves out is the profile's. `align` (transcribe only) names a second stem to transcribe: it
    gives the word times where both hearings agree, and the disagreements where they do not; the same stem as
    `stem` means no second hearing.
    """

    engine: str | None = None  # any engine of either profile for this stage
    stem: Stem | None = None  # what it listens to
    align: Stem | None = None  # transcribe only: a second stem, for word times and disagreements
    params: dict[str, Any] = field(default_factory=dict)  # of the engine, see its Params


@dataclass(frozen=True)
class HearConfigs:
    """The four listening stages."""

    separate: HearConfig = HearConfig()  # speech from its background
    diarize: HearConfig = HearConfig()  # who speaks when
    tag: HearConfig = HearConfig()  # what sounds
    transcribe: HearConfig = HearConfig()  # what is said


@dataclass(frozen=True)
class StageConfig:
    """A HearConfig with nothing left out."""

    engine: str
    stem: Stem = "mix"
    align: Stem | None = None
    params: dict[str, Any] = field(default_factory=dict)


PROFILES: dict[str, dict[Stage, StageConfig]] = {
    "embedded": {
        "separate": StageConfig("deepfilternet"),
        "diarize": StageConfig("segmentation_campplus"),  # of the mix: separation takes weak voices away
        "tag": StageConfig("yamnet", stem="background"),
        "transcribe": StageConfig("faster_whisper", stem="mix", align="speech"),
    },
    "paper": {
        "separate": StageConfig("demucs"),
        "diarize": StageConfig("pyannote", stem="speech"),
        "tag": StageConfig("panns", stem="background"),
        "transcribe": StageConfig("whisper", stem="mix", align="speech"),
    },
}


@dataclass(frozen=True)
class QuestionsConfig:
    """How many questions of which kind."""

    per_clip: Positive = 8  # at most
    choices: Annotated[int, Meta(ge=2, le=8)] = 4  # of a question, where the scene has as many
    skip: tuple[str, ...] = ()  # templates left out, by name
    families: tuple[str, ...] = ()  # of plug-ins, that are asked as well
    none_rate: Unit = 0.1  # share of the questions fit for it whose right choice is "None of these"
    open_rate: Unit = 0.1  # share of the questions fit for it that come without choices
    reflect: Unit = 0.5  # share of multiple-choice questions answered wrong at first, then reflected upon
    style: Literal["full", "brief"] = "full"  # of rationales; brief: sounds, turns, argument, answer
    letters: bool = True  # choices have letters, and answers name them; else answers are words alone
    mishear: bool = True  # wrong first responses come from engines on the raw mix, where possible
    mishear_share: Unit = 0.3  # share of clips whose raw mix is diarized and tagged for that


@dataclass(frozen=True)
class BenchmarkConfig:
    """A benchmark of which nothing may be in the build: its questions, its recordings, or both."""

    name: Name  # what quarantine calls it
    questions: str | None = None  # .json, .jsonl or .parquet as MMAU, MMAU-Pro, MMAR, MMSU, AVQA have it
    audio: str | None = None  # likewise: a folder
    similarity: Unit = 0.9  # of the wordings, from which a question with the same choices is a copy


@dataclass(frozen=True)
class GatesConfig:
    """What keeps a row out of the dataset. A gate is open at 0 or false.

    `max_quarantined` is a share of the recordings, clips and questions that were given. What is usable and
    taken out by rule does not count: rows that a gate drops, copies, what would be on two sides of the split,
    licences, benchmarks.
    """

    quote_presence: Unit = 0.85  # mean best match of the quoted sentences against the transcript snippets
    min_score: Unit = 0.3  # sounds that the tagger is less sure of are no evidence
    max_below_db: Annotated[float, Meta(ge=0)] = 40.0  # quieter evidence, below the loudest sound, fails
    min_confidence: Unit = 0.9  # rows of predictions that are less probably right, with all they state
    min_margin: Unit = 0.3  # less certain predictions, e.g. where engines disagree, are not asked about
    duplicate_choices: bool = True  # choices that differ in nothing but form
    ambiguous_choices: bool = True  # choices that may be taken for one another, e.g. a sound and its kind
    unique_answer: bool = True  # what a question quotes or names must be one thing, and one answer right
    near_duplicate: Unit = 0.9  # share of words in common from which two questions are the same
    profanity: bool = False  # keep out words listed in paqa/data/profanity.txt
    personal_data: bool = False  # keep out e-mail addresses, telephone numbers and postal addresses
    reflection: bool = True  # the first response must be wrong, and REFLECT cite a span of the scene
    max_quarantined: Unit = 0.1  # the build fails where a larger share of its input cannot be used
    shortcuts: Literal["fail", "warn", "off"] = "fail"  # where the text alone answers more than chance
    shortcut_points: Annotated[float, Meta(ge=0, le=100)] = 3.0  # percent above chance that are allowed
    thin: Unit = 0.2  # rows that can be guessed are left out, up to this share of all
    listener: str = ""  # a language model that guesses too: "smollm2", a folder or a Hub id; "" for none
    min_audio_dependence: Unit = 0.0  # rows that the text alone answers more surely fall out; 0 keeps all
    near_duplicates: bool = True  # find copies that are louder, resampled, encoded or cut otherwise
    benchmarks: tuple[BenchmarkConfig, ...] = ()  # what evaluations use and training must not


@dataclass(frozen=True)
class ReviewConfig:
    """What people say of rows: those that they reject are left out."""

    verdicts: tuple[str, ...] = ()  # files that a review report saved, relative to the recipe


@dataclass(frozen=True)
class QualityConfig:
    """How good clips sound, and which are left out for it. Thresholds need `measure`.

    What a clip does not have (DNSMOS and SNR without speech) fails no threshold.
    """

    measure: bool = False  # DNSMOS, SNR, SRMR, bandwidth, clipping of clips and of their speakers
    min_dnsmos: OpinionScore = 0.0  # of a clip with speech, overall, on the mix; 0 keeps all
    min_speaker_dnsmos: OpinionScore = 0.0  # of each of its speakers, where nobody else talks; 0 keeps all
    min_snr_db: Annotated[float, Meta(ge=-60, le=100)] | None = None  # speech over background
    min_srmr: Annotated[float, Meta(ge=0)] = 0.0  # falls with reverberation and noise; 0 keeps all
    min_bandwidth_hz: Annotated[int, Meta(ge=0, le=24000)] = 0  # at most half of audio.rate is there
    max_clipping: Unit = 1.0  # share of samples that stay flat at full scale; 1 keeps all


@dataclass(frozen=True)
class SplitConfig:
    """Shares of groups (recordings, speakers) on each side; the rest is train."""

    validation: Unit = 0.05  # share of the groups
    test: Unit = 0.1  # share of the groups
    speakers: bool = True  # a source's named speakers are on one side only; what would leak is quarantined
    classes: bool = False  # recordings of one class of sounds are on all sides; such a build cannot grow


@dataclass(frozen=True)
class ShardConfig:
    """The size of the Parquet files."""

    max_mb: Annotated[int, Meta(ge=1, le=500)] = 400  # of a file
    row_group_mb: Annotated[int, Meta(ge=1, le=100)] = 40  # of what a reader takes into memory at a time


@dataclass(frozen=True)
class VerifierConfig:
    """A model behind an OpenAI-compatible endpoint, which is asked about rows and rewords them.

    Off without an endpoint. `max_requests` counts every try that reaches for the endpoint in one run; what
    the store has costs none.
    """

    endpoint: Address = ""  # e.g. "http://127.0.0.1:8000/v1"; "" for none
    model: str = ""  # its name there
    key_env: KeyName = ""  # environment variable that holds the endpoint's key; "" for none
    ask_text: Annotated[int, Meta(ge=0, le=100)] = 4  # times that a row is asked without audio
    ask_audio: Annotated[int, Meta(ge=0, le=100)] = 0  # times that a row is asked with audio
    ask_sounds: bool = False  # ask once a clip, with audio, which sounds there are
    paraphrase: bool = False  # reword questions and rationales, where nothing else changes
    min_agreement: Unit = 0.0  # rows whose answers with audio agree less often fall out; 0 keeps all
    max_requests: Positive = 1000  # in one run
    parallel: Annotated[int, Meta(ge=1, le=64)] = 4  # requests at once
    timeout_s: Annotated[float, Meta(ge=1, le=3600)] = 120.0  # seconds for one request
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.0  # of sampling; 0 takes the likeliest token
    max_tokens: Annotated[int, Meta(ge=1, le=100_000)] = 1024  # of a reply


@dataclass(frozen=True)
class Recipe:
    """A whole build."""

    name: Name  # of the dataset
    sources: tuple[SourceConfig, ...]  # where recordings come from, at least one
    description: str = ""  # for the card and the report
    license: str | None = None  # that the dataset shall come under; what does not permit it is quarantined
    seed: Seed = 0  # another one draws other scenes, questions and wordings
    profile: Profile = "embedded"  # the engines that listen
    mix: tuple[MixConfig, ...] = ()  # scenes composed from material
    audio: AudioConfig = AudioConfig()  # the form of the clips
    hear: HearConfigs = HearConfigs()  # changes to the profile
    questions: QuestionsConfig = QuestionsConfig()  # what is asked
    gates: GatesConfig = GatesConfig()  # what falls out
    review: ReviewConfig = ReviewConfig()  # what people reject
    quality: QualityConfig = QualityConfig()  # how good clips sound
    verifier: VerifierConfig = VerifierConfig()  # a model that is asked about rows
    split: SplitConfig = SplitConfig()  # train, validation and test
    shard: ShardConfig = ShardConfig()  # the files
    folder: str = "."  # set on loading: what relative paths are relative to
    devices: dict[Stage, Device] = field(default_factory=dict)  # set by the build

    def stage_config(self, stage: Stage) -> StageConfig:
        """What the recipe, or else the profile, says about a stage."""
        changes: HearConfig = getattr(self.hear, stage)
        base = PROFILES[self.profile][stage]
        return StageConfig(
            changes.engine or base.engine,
            changes.stem or base.stem,
            changes.align or base.align,
            changes.params,
        )


def converted(kind: Any, values: dict[str, Any], where: str) -> Any:
    """`values` as a dataclass of parameters; PaqaError, which begins with `where`, for wrong ones."""
    names = sorted(kind.__dataclass_fields__)
    if unknown := sorted(set(values) - set(names)):
        raise PaqaError(f"{where} has no {unknown[0]!r}; known: {', '.join(names) or 'none'}")
    try:
        return with_defaults(msgspec.convert(values, kind))
    except msgspec.ValidationError as error:
        raise PaqaError(f"{where}: {error}") from None


def decode_recipe(data: bytes) -> Recipe:
    """The recipe that a build keeps as JSON; msgspec.DecodeError where it is none."""
    return recipe_of(msgspec.json.decode(data))


def recipe_of(data: dict[str, Any]) -> Recipe:
    """A recipe from plain values; msgspec.ValidationError where they do not fit."""
    return with_defaults(msgspec.convert(data, Recipe))


def with_defaults(value: T) -> T:
    """The same with every default as a value of its own.

    msgspec leaves defaults out of the dataclasses that it makes, and so out of what is written or put into a
    key: then a key would tell whether a default is spelled out, and nothing would keep its value.
    """
    result: Any = value
    if is_dataclass(value) and not isinstance(value, type):
        result = type(value)(**{f.name: with_defaults(getattr(value, f.name)) for f in fields(value)})
    elif isinstance(value, tuple):
        result = tuple(map(with_defaults, value))
    elif isinstance(value, dict):
        result = {name: with_defaults(inner) for name, inner in value.items()}
    return cast(T, result)
