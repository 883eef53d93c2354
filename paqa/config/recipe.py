"""One TOML file = one reproducible build. Unknown keys are errors; a default exists once, here or beside its engine."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from paqa.engines.base import engine_class
from paqa.engines.weights import chosen
from paqa.errors import PaqaError
from paqa.storage import redact, text_files
from paqa.types import AnswersFrom, Device, Stage, Stem, Unit

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
Names = str | tuple[str, ...]  # of sources; a constrained string in such a union crashes msgspec 0.22


@dataclass(frozen=True)
class SourceConfig:
    """Where recordings come from. `use = "material"` keeps them for mixing only and asks nothing about them."""

    name: Name  # what mixes and rows call it
    type: str  # its layout: folder, jsonl, hub or another of the README's table
    path: str  # relative to the recipe's folder
    use: Literal["clips", "material"] = "clips"  # to be asked about, or kept for mixing only
    answers: AnswersFrom = "heard"  # where answers come from when a recording has truth
    license: str = "unknown"  # for rows that state none
    limit: Positive | None = None  # at most this many rows, drawn by the digests of their ids
    group: Literal["recording", "folder"] = "recording"  # type folder: one split for all below a sub-folder of `path`
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
    tasks: tuple[str, ...] = ()  # families of questions to ask about its scenes, all of them where none is named

    def sources(self, role: Literal["speech", "background"]) -> tuple[str, ...]:
        """The names of the sources of a role, none where it has none."""
        given: Names | None = getattr(self, role)
        return (given,) if isinstance(given, str) else given or ()


@dataclass(frozen=True)
class AudioConfig:
    """The form every clip is brought into before anything listens."""

    rate: Annotated[int, Meta(ge=8000, le=48000)] = 16000  # Hz
    channels: Literal[1, 2] = 1  # mono or stereo
    max_clip_ms: Annotated[int, Meta(ge=1000, le=300_000)] = 30_000  # longer recordings are cut at silences
    min_clip_ms: Count = 500  # shorter ones are quarantined
    max_file_ms: Annotated[int, Meta(ge=1, le=48 * 3_600_000)] = 6 * 3_600_000  # longer files are refused, see README


@dataclass(frozen=True)
class HearConfig:
    """One listening stage: which engine, on which stem, with which of its parameters changed.

    What a recipe leaves out is the profile's. `align` (transcribe only) names a second stem to transcribe: it gives
    the word times where both hearings agree, and the disagreements where they do not; the same stem as `stem` means
    no second hearing.
    """

    engine: str | None = None  # any engine of either profile for this stage
    stem: Stem | None = None  # what it listens to
    align: Stem | None = None  # transcribe only: a second hearing, on this stem, for word times and disagreements
    params: dict[str, Any] = field(default_factory=dict)  # of the engine, see its Params; paqa doctor names files


@dataclass(frozen=True)
class HearConfigs:
    """The four listening stages."""

    separate: HearConfig = HearConfig()  # speech from its background
    diarize: HearConfig = HearConfig()  # who speaks when
    tag: HearConfig = HearConfig()  # what sounds
    transcribe: HearConfig = HearConfig()  # what is said


@dataclass(frozen=True)
class Listening:
    """A HearConfig with nothing left out."""

    engine: str
    stem: Stem = "mix"
    align: Stem | None = None
    params: dict[str, Any] = field(default_factory=dict)


PROFILES: dict[str, dict[Stage, Listening]] = {
    "embedded": {
        "separate": Listening("deepfilternet"),
        "diarize": Listening("silero_dvector", stem="speech"),
        "tag": Listening("yamnet", stem="background"),
        "transcribe": Listening("faster_whisper", stem="mix", align="speech"),
    },
    "paper": {
        "separate": Listening("demucs"),
        "diarize": Listening("pyannote", stem="speech"),
        "tag": Listening("panns", stem="background"),
        "transcribe": Listening("whisper", stem="mix", align="speech"),
    },
}


@dataclass(frozen=True)
class QuestionsConfig:
    """How many questions of which kind."""

    per_clip: Positive = 8  # at most
    choices: Annotated[int, Meta(ge=2, le=8)] = 4  # of a question, where the scene has as many
    skip: tuple[str, ...] = ()  # templates left out, by name
    none_rate: Unit = 0.1  # share of the questions fit for it whose right choice is "None of these"
    open_rate: Unit = 0.1  # share of the questions fit for it that come without choices
    reflect: Unit = 0.5  # share of multiple-choice questions answered wrong at first, then reflected upon
    mishear: bool = True  # wrong answers come from what engines hear in the raw mix, where possible; costs model time


@dataclass(frozen=True)
class BenchmarkConfig:
    """A benchmark that nothing of may be in the build: a JSON file of questions, a folder of recordings, or both."""

    name: Name  # what quarantine calls it
    questions: str | None = None  # relative to the recipe's folder: .json or .jsonl as MMAU, MMAR, MMSU, AVQA have it
    audio: str | None = None  # likewise: a folder
    similarity: Unit = 0.9  # of the wordings, from which a question with the same choices is a copy


@dataclass(frozen=True)
class GatesConfig:
    """What keeps a row out of the dataset. A gate is open at 0 or false.

    `max_quarantined` is a share of the recordings, clips and questions that were given. What is usable and taken out by
    rule does not count: rows that a gate drops, copies, what would be on two sides of the split, licences, benchmarks.
    """

    quote_presence: Unit = 0.85  # mean best match of the quoted sentences against the transcript snippets
    min_score: Unit = 0.3  # sounds that the tagger is less sure of are no evidence
    max_below_db: Annotated[float, Meta(ge=0)] = 40.0  # evidence further below the loudest voice or sound is too quiet
    min_margin: Unit = 0.3  # perceptions less certain than this, e.g. where engines disagree, are not asked about
    duplicate_choices: bool = True  # choices that differ in nothing but form
    ambiguous_choices: bool = True  # choices that may be taken for one another, e.g. a sound and its kind
    unique_answer: bool = True  # what a question quotes or names must be one thing in the scene, and one answer right
    near_duplicate: Unit = 0.9  # share of words in common from which two questions with one answer are the same
    profanity: bool = False  # keep out words listed in paqa/data/profanity.txt
    personal_data: bool = False  # keep out e-mail addresses, telephone numbers and postal addresses
    reflection: bool = True  # a first response before REFLECT must be wrong, and REFLECT cite a span of the scene
    max_quarantined: Unit = 0.1  # the build fails when a larger share of what was given cannot be read, heard or asked
    shortcuts: Literal["fail", "warn", "off"] = "fail"  # where the text alone answers more questions than chance would
    shortcut_points: Annotated[float, Meta(ge=0, le=100)] = 3.0  # percent above chance that are allowed
    thin: Unit = 0.2  # rows of templates that can be guessed are left out, up to this share of all; 0 leaves none out
    listener: str = ""  # a language model that guesses too: "smollm2", a folder or a Hub id; "" for none
    min_audio_dependence: Unit = 0.0  # rows that the text alone answers more surely fall out; 0 keeps all
    near_duplicates: bool = True  # find copies that are louder, resampled, encoded or cut otherwise, by fingerprint
    benchmarks: tuple[BenchmarkConfig, ...] = ()  # what evaluations use and training must not


@dataclass(frozen=True)
class SplitConfig:
    """Shares of groups (recordings, speakers) on each side; the rest is train."""

    validation: Unit = 0.05  # share of the groups
    test: Unit = 0.1  # share of the groups
    speakers: bool = True  # a source's named speakers are on one side only; what would leak is quarantined


@dataclass(frozen=True)
class ShardConfig:
    """The size of the Parquet files."""

    max_mb: Annotated[int, Meta(ge=1, le=500)] = 400  # of a file
    row_group_mb: Annotated[int, Meta(ge=1, le=100)] = 40  # of what a reader takes into memory at a time


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
    split: SplitConfig = SplitConfig()  # train, validation and test
    shard: ShardConfig = ShardConfig()  # the files
    folder: str = "."  # set on loading: what relative paths are relative to
    devices: dict[Stage, Device] = field(default_factory=dict)  # set by the build: what engines run on but for CPUs

    def hearing(self, stage: Stage) -> Listening:
        """What the recipe, or else the profile, says about a stage."""
        own: HearConfig = getattr(self.hear, stage)
        base = PROFILES[self.profile][stage]
        return Listening(own.engine or base.engine, own.stem or base.stem, own.align or base.align, own.params)

    def asking(self, corpus: str) -> QuestionsConfig:
        """What is asked about the clips of a source or mix: templates of other tasks than its own are skipped."""
        from paqa.questions.generate import TEMPLATES

        named: list[SourceConfig | MixConfig] = [*self.sources, *self.mix]
        tasks = next((config.tasks for config in named if config.name == corpus), ())
        others = (t.name for t in TEMPLATES.values() if tasks and t.task not in tasks)
        return replace(self.questions, skip=(*self.questions.skip, *others))

    def parameters(self, stage: Stage) -> Any:
        """The engine's own Params, with the models folder's and the recipe's changes; unknown names are errors."""
        config = self.hearing(stage)
        given = chosen(config.engine) | config.params
        return converted(engine_class(config.engine).Params, given, f"hear.{stage}.params: engine {config.engine}")


def converted(kind: Any, given: dict[str, Any], where: str) -> Any:
    """`given` as a dataclass of parameters; PaqaError that starts with `where` for unknown names and wrong types."""
    known = sorted(kind.__dataclass_fields__)
    if unknown := sorted(set(given) - set(known)):
        raise PaqaError(f"{where} has no {unknown[0]!r}; known: {', '.join(known) or 'none'}")
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise PaqaError(f"{where}: {error}") from None


def load(path: Path) -> Recipe:
    """Read and check a recipe file; raises PaqaError that names the file, the key and what was expected."""
    from paqa.config.schema import problems

    try:
        with path.open("rb") as file:
            content = file.read(LONGEST_FILE + 1)
        if len(content) > LONGEST_FILE:
            raise PaqaError(f"{path}: is no recipe: found over {LONGEST_FILE // 10**6} MB, expected a page of TOML")
        data = tomllib.loads(text_files.decoded(content))
    except IsADirectoryError:
        raise PaqaError(f"{path}: is a folder; for a folder of recordings run: paqa build --audio {path}") from None
    except FileNotFoundError:
        raise PaqaError(f"{path}: no such recipe; for a folder of recordings run: paqa build --audio FOLDER") from None
    except (ValueError, RecursionError) as error:  # also of a number with thousands of digits
        raise PaqaError(f"{path}: not valid TOML: {error}") from None
    try:
        for problem in (*_unfit(data), *problems("recipe", data)):
            raise PaqaError(problem)
        _no_pickle(data)
        recipe = replace(msgspec.convert(data, Recipe), folder=str(path.parent))
        check(recipe)
    except (PaqaError, msgspec.ValidationError) as error:
        raise PaqaError(f"{path}: {error}") from None
    return recipe


def _unfit(value: Any, where: str = "", depth: int = 0) -> Iterator[str]:
    """What no key of a recipe can hold: tables a hundred deep, and numbers that are none or that JSON cannot keep."""
    if depth > 20:
        yield f"{where[:60]}: tables or lists within each other more than 20 deep; expected a few"
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _unfit(inner, f"{where}.{name}".lstrip("."), depth + 1)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _unfit(inner, f"{where}.{i}", depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{where}: found {value}, expected a number"
    elif isinstance(value, int) and abs(value) > 2**53:
        yield f"{where}: found a number beyond 2**53, expected a smaller one"


def _no_pickle(data: dict[str, Any]) -> None:
    """A recipe is data, and may come from anybody: leave to run a checkpoint's code is this machine's to give."""
    for stage, config in data.get("hear", {}).items():
        if config.get("params", {}).get("allow_pickle"):
            raise PaqaError(
                f"hear.{stage}.params.allow_pickle: a recipe cannot allow that; say it on the command line, "
                f"--set hear.{stage}.params.allow_pickle=true, or in models.toml of the models folder"
            )


def for_folder(audio: Path) -> Recipe:
    """The recipe behind `paqa build --audio FOLDER`."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", audio.resolve().name).strip("-._")[:80] or "audio"
    return Recipe(name=name, sources=(SourceConfig("audio", "folder", "."),), folder=str(audio))


def change(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """The recipe with `section.key=value` changes from the command line; values are TOML (or plain words)."""
    from paqa.config.schema import problems

    data = msgspec.to_builtins(recipe, str_keys=True)
    kept = {name: data.pop(name) for name in SET_BY_US}
    for text in changes:
        path, equals, value = text.partition("=")
        *sections, name = _keys(data, path)
        place: Any = data
        for section in sections:
            place = _within(place, section, f"--set {text}")
        if not equals or not isinstance(place, dict):
            raise PaqaError(f"--set {text}: expected KEY=VALUE with a key of a table, e.g. questions.per_clip=4")
        place[name] = _toml_value(value)
    for problem in _unfit(data):
        raise PaqaError(f"--set: {problem}")
    try:
        plain = msgspec.json.decode(msgspec.json.encode(data))
    except (ValueError, TypeError) as error:  # half of a character
        raise PaqaError(f"--set: {error}") from None
    for problem in problems("recipe", plain):
        raise PaqaError(f"--set: {problem}")
    try:
        changed = replace(msgspec.convert(plain, Recipe), **kept)
    except msgspec.ValidationError as error:
        raise PaqaError(f"--set: {error}") from None
    check(changed)
    return changed


def _keys(data: dict[str, Any], path: str) -> list[str]:
    """The keys of a path of `--set`; the name of a source, mix or benchmark may hold dots itself."""
    for table in ("sources", "mix", "gates.benchmarks"):
        place: Any = data
        for key in table.split("."):
            place = place.get(key, {}) if isinstance(place, dict) else {}
        names = [str(one.get("name")) for one in _tables(place)]
        for name in sorted(names, key=len, reverse=True):
            if path.startswith(f"{table}.{name}."):
                return [*table.split("."), name, *path.removeprefix(f"{table}.{name}.").split(".")]
    return path.split(".")


def _within(place: Any, key: str, where: str) -> Any:
    """What a key of a table leads to, or the table of that name in a list of tables; None in anything else."""
    if isinstance(place, list | tuple):
        named = {one.get("name"): one for one in _tables(place)}
        if key not in named:
            raise PaqaError(f"{where}: found no {key!r} there, expected one of {', '.join(map(str, named)) or 'none'}")
        return named[key]
    return place.setdefault(key, {}) if isinstance(place, dict) else None


def _tables(place: Any) -> list[dict[str, Any]]:
    """The tables in a list of them; what an earlier `--set` has put there instead is left out."""
    return [one for one in place if isinstance(one, dict)] if isinstance(place, list | tuple) else []


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # also of a number with thousands of digits
        return text


def check(recipe: Recipe) -> None:
    """What a schema cannot say: names that refer to each other, engines that exist and know their parameters."""
    from paqa.licensing import compatibility
    from paqa.questions.generate import TEMPLATES
    from paqa.sources.registry import check as check_source

    if secret := redact.secret_in(msgspec.to_builtins(recipe, str_keys=True)):
        wanted = "recipes are published with what they make: take it out, and log in with `hf auth login`"
        raise PaqaError(f"{secret}: holds a token or password; {wanted} or environment variables")
    if recipe.license is not None:
        compatibility.target(recipe.license)
    names = [s.name for s in recipe.sources]
    if not names:
        raise PaqaError("sources: the recipe has none; name at least one")
    mixes = [m.name for m in recipe.mix]
    for name in names:
        if names.count(name) > 1:
            raise PaqaError(f"sources: two sources are called {name!r}; names must differ")
    known = sorted({template.task for template in TEMPLATES.values()})
    corpora: list[SourceConfig | MixConfig] = [*recipe.sources, *recipe.mix]
    for config in corpora:
        if other := sorted(set(config.tasks) - set(known)):
            raise PaqaError(f"{config.name}.tasks: no questions are called {other[0]!r}; known: {', '.join(known)}")
    for source in recipe.sources:
        check_source(source)
    for mix in recipe.mix:
        if mix.name in names or mixes.count(mix.name) > 1:
            raise PaqaError(f"mix.{mix.name}: a source or another mix has that name too; names must differ")
        speech, background = mix.sources("speech"), mix.sources("background")
        for role, wanted in [("speech", name) for name in speech] + [("background", name) for name in background]:
            if wanted not in names:
                raise PaqaError(f"mix.{mix.name}.{role}: no source is called {wanted!r}; known: {', '.join(names)}")
            if recipe.sources[names.index(wanted)].use != "material":
                raise PaqaError(f'mix.{mix.name}.{role}: source {wanted!r} must have use = "material"')
        if not speech and not background:
            raise PaqaError(f"mix.{mix.name}: name a source of speech, of background, or both")
        if mix.bed and not (speech and background):
            raise PaqaError(f"mix.{mix.name}.bed: found {mix.bed}, expected 0 without both speech and background")
        if not speech and mix.sounds[0] < 1:
            raise PaqaError(f"mix.{mix.name}.sounds: found {mix.sounds[0]}, expected at least 1 where nobody speaks")
        for field_name in ("speakers", "turns", "pause_ms", "overlap_ms", "sounds", "snr_db"):
            low, high = getattr(mix, field_name)
            if low > high:
                raise PaqaError(
                    f"mix.{mix.name}.{field_name}: found [{low}, {high}], expected the smaller number first"
                )
    if recipe.split.validation + recipe.split.test > 1:
        raise PaqaError("split: validation and test add up to more than 1")
    if unknown := sorted(set(recipe.questions.skip) - set(TEMPLATES)):
        raise PaqaError(f"questions.skip: no template is called {unknown[0]!r}; known: {', '.join(sorted(TEMPLATES))}")
    if recipe.hearing("separate").stem != "mix":
        raise PaqaError("hear.separate.stem: separation hears the mix; leave the key out")
    for stage in PROFILES[recipe.profile]:
        found = engine_class(recipe.hearing(stage).engine).stage
        if found != stage:
            raise PaqaError(f"hear.{stage}.engine: {recipe.hearing(stage).engine} is an engine for {found!r}")
        if recipe.hearing(stage).align and stage != "transcribe":
            raise PaqaError(f"hear.{stage}.align: only transcribe has a second hearing; leave the key out")
        recipe.parameters(stage)
