"""One frozen dataclass per stage, from which its flags, its checks and the record of its runs are made."""

from __future__ import annotations

import argparse
import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from paqa.errors import PaqaError
from paqa.rationale.rewards import RewardWeights
from paqa.storage.store import write_atomically

Stage = TypeVar("Stage")
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Bound = Annotated[float, Meta(ge=-1000.0, le=1000.0)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
NotNegative = Annotated[float, Meta(ge=0)]  # as the recipe writes it: typing keeps one of two that are equal
PauseMode = Literal["off", "never", "on", "always"]
Dtype = Literal["auto", "float32", "bfloat16"]
Hearing = Literal["audio", "silence", "shuffled"]
Benchmark = Literal["paqa", "mmau", "mmau_pro", "mmar", "mmsu", "adqa", "msu_bench"]
FILE = "config.json"
RESULTS = ("checkpoint-*", "best", "last", "answers-*.jsonl", "eval.json")  # what a run's config holds for
COMPILE = "compile the step of decoding: a wait at the start, then fewer kernels (for a GPU)"


@dataclass(frozen=True)
class PauseConfig:
    """When the environment makes the model wait.

    Confidence is -mean log-probability of the `top` likeliest tokens.
    """

    mode: Annotated[
        PauseMode, "never: watched, none inserted; on: by confidence; always: wherever allowed"
    ] = "on"
    tokens: Annotated[Positive, "PAUSE tokens a run (the paper's setting is 64)"] = 8
    runs: Annotated[Count, "runs a completion at most"] = 3
    window: Annotated[Positive, "sampled tokens over which confidence is averaged"] = 16
    top: Annotated[Positive, "likeliest tokens that make up confidence"] = 20
    warmup: Annotated[Count, "sampled tokens before the first run"] = 16
    cooldown: Annotated[Count, "sampled tokens between two runs"] = 64
    tau_pause: Annotated[Bound | None, "confidence at and below which it pauses (default: calibrated)"] = None
    tau_abort: Annotated[Bound | None, "confidence at and below which it gives up (default: calibrated)"] = (
        None
    )
    quantile: Annotated[Share, "share of windows below tau_pause, where it is calibrated"] = 0.05
    abort_quantile: Annotated[
        Share, "share of windows below tau_abort, where calibrated; 0: never gives up"
    ] = 0.0
    momentum: Annotated[Share, "of the calibrated bounds, from rollout to rollout"] = 0.9
    keywords: Annotated[tuple[str, ...], "words (tone pitch noise) that raise a bound that is there"] = ()
    keyword_bonus: Annotated[NotNegative, "added to tau_pause after a keyword"] = 0.5
    keyword_reach: Annotated[Positive, "sampled tokens that a keyword counts for"] = 64

    @property
    def inserts(self) -> bool:
        """Whether there may be any PAUSE."""
        return self.mode in ("on", "always")


OFF = PauseConfig(mode="off")


@dataclass(frozen=True)
class ModelConfig:
    """What all stages share."""

    model: Annotated[
        str,
        "Hub id or folder of Qwen2-Audio, Qwen2.5-Omni, Audio or Music Flamingo, or a trained folder",
    ] = ""
    data: Annotated[str, "folder of a build (holds data/*.parquet)"] = ""
    out: Annotated[str, "folder for checkpoints, metrics and the trained model"] = ""
    seed: Annotated[int, "random seed"] = 0
    device: Annotated[str, "cpu, cuda, cuda:1; auto: cuda where there is one"] = "auto"
    dtype: Annotated[Dtype, "auto: bfloat16 on a GPU that has it, else float32"] = "auto"
    chunk: Annotated[Positive, "positions whose logits exist at a time"] = 1024
    store: Annotated[str, "where encoded clips are kept (default: the store of the build, where it is)"] = ""
    quiet: Annotated[bool, "no progress bar"] = False


@dataclass(frozen=True)
class TrainConfig(ModelConfig):
    """What both ways of training share."""

    train: Annotated[
        Literal["lora", "full"], "lora: matrices beside frozen weights; full: all of the language model"
    ] = "lora"
    rank: Annotated[Positive, "of the LoRA matrices on the language model"] = 32
    alpha: Annotated[Count, "scale of LoRA, times 1/rank"] = 64
    projector: Annotated[bool, "train the projector between encoder and language model as well"] = True
    checkpointing: Annotated[
        bool, "recompute activations backward: a third more time, and 7 B parameters fit"
    ] = True
    learning_rate: Annotated[NotNegative, "peak learning rate"] = 1e-4
    projector_rate: Annotated[NotNegative, "factor on the learning rate of the projector"] = 1.0
    warmup: Annotated[Count, "steps until the learning rate is at its peak"] = 10
    decay: Annotated[Literal["cosine", "constant"], "of the learning rate after its warm-up"] = "cosine"
    weight_decay: Annotated[NotNegative, "of AdamW"] = 0.0
    clip: Annotated[NotNegative, "gradient-norm clip; 0: no limit"] = 1.0
    steps: Annotated[Count, "steps; 0: as many as the epochs make"] = 0
    epochs: Annotated[NotNegative, "passes over the rows, where no steps are given"] = 1.0
    mix: Annotated[dict[str, NotNegative], "how often rows of a task are seen each epoch (default: once)"] = (
        field(default_factory=dict)
    )
    tokens: Annotated[Positive, "tokens in a forward pass; one prompt's completions are never split"] = 8192
    max_new: Annotated[
        Count, "sampled tokens of a completion at most; 0: 1.25 times the longest rationale to train on"
    ] = 0
    validation: Annotated[
        Share, "share of the train groups held out, where a build has no validation split"
    ] = 0.05
    validation_rows: Annotated[Count, "rows of which loss or reward is validated"] = 64
    best_rows: Annotated[Positive, "rows that must be validated for a best model to be kept"] = 64
    validate_every: Annotated[Count, "steps; 0: only at the end"] = 100
    save_every: Annotated[Count, "steps; 0: only at the end"] = 100
    keep: Annotated[Positive, "newest checkpoints that are kept"] = 2
    tensorboard: Annotated[bool, "write TensorBoard events beside metrics.jsonl"] = True
    wandb: Annotated[str, "project of Weights & Biases to log to (needs its package)"] = ""


@dataclass(frozen=True)
class SftConfig(TrainConfig):
    """Stage I: imitate the rationales."""

    batch: Annotated[Positive, "forward passes a step and process"] = 4
    answer_rows: Annotated[Count, "validation rows that are answered in full to count right answers"] = 16
    caption_given: Annotated[
        Share, "share of targets without audio, of which all but the caption is learnt: to argue from one"
    ] = 0.0
    pause_share: Annotated[Share, "share of targets with PAUSE before their least likely words"] = 0.15
    pause: PauseConfig = field(default_factory=PauseConfig)


@dataclass(frozen=True)
class GrpoConfig(TrainConfig):
    """Stage II: reinforce what rewards favour (Shao et al. 2024, DeepSeekMath; Liu et al. 2025, Dr.GRPO)."""

    learning_rate: Annotated[NotNegative, "peak learning rate"] = 1e-5
    decay: Annotated[Literal["cosine", "constant"], "of the learning rate after its warm-up"] = "constant"
    prompts: Annotated[Positive, "prompts a step and process"] = 8
    group: Annotated[int, Meta(ge=2), "completions a prompt"] = 8
    temperature: Annotated[float, Meta(gt=0.0), "of sampling, and of the log-probabilities"] = 1.0
    compile: Annotated[bool, COMPILE] = False
    loss: Annotated[
        Literal["dr_grpo", "grpo"], "dr_grpo: differences, constant norm; grpo: divided by spread and length"
    ] = "dr_grpo"
    updates: Annotated[Positive, "steps of the optimizer on the same completions"] = 1
    clip_ratio: Annotated[NotNegative, "how far a ratio of probabilities may move, where updates > 1"] = 0.2
    beta: Annotated[NotNegative, "weight of the KL divergence from the model before this stage"] = 0.0
    confidence_weights: Annotated[
        bool,
        "weigh groups by the spread of their lowest confidences, as the paper, whose confidences are "
        "probabilities; here they are mean log-probabilities, whose spread has another scale",
    ] = False
    weight_low: Annotated[NotNegative, "least weight of a group"] = 0.1
    weight_high: Annotated[NotNegative, "largest weight of a group"] = 1.0
    pause: PauseConfig = field(default_factory=PauseConfig)
    reward: RewardWeights = field(default_factory=RewardWeights)


@dataclass(frozen=True)
class EvalConfig(ModelConfig):
    """What is asked of a trained model."""

    split: Annotated[Literal["train", "validation", "test"], "rows of the build that are answered"] = "test"
    rows: Annotated[Count, "at most so many rows, drawn by the digests of their ids; 0: all"] = 0
    hearing: Annotated[tuple[Hearing, ...], "the clip, silence of its length, another row's clip"] = (
        "audio",
    )
    batch: Annotated[Positive, "rows answered together"] = 8
    max_new: Annotated[
        Count,
        "sampled tokens of an answer at most; 0: by the build's rationales; without one, as trained",
    ] = 0
    temperature: Annotated[NotNegative, "of sampling; 0: the likeliest token"] = 0.0
    compile: Annotated[bool, COMPILE] = False
    forced: Annotated[bool, "also take the likeliest choice of each question, whatever is written"] = True
    plain: Annotated[bool, "ask for the answer alone, without tags, as benchmarks do"] = False
    orders: Annotated[Positive, "ask each question with its choices in so many orders"] = 1
    benchmark: Annotated[Benchmark, "layout of the questions"] = "paqa"
    questions: Annotated[str, "the benchmark's own JSON, JSONL, Parquet or folder (not for paqa)"] = ""
    audio_root: Annotated[
        str, "folder that a benchmark's audio paths are relative to (default: beside it)"
    ] = ""
    labels: Annotated[
        bool, "rank the scenes' sound labels by likelihood as well (mean average precision)"
    ] = False
    pause: PauseConfig = OFF


@dataclass(frozen=True)
class AllConfig(ModelConfig):
    """All stages in a row; each takes its model, data and folder from here."""

    sft: SftConfig = field(default_factory=SftConfig)
    grpo: GrpoConfig = field(default_factory=GrpoConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)


# Flags by the name of a preset. hyper: what the paper ("Listen, Pause, and Reason", appendix) says of stage
# II, with 16 prompts a step shared by 8 processes. Its bounds of confidence are probabilities; ours are
# calibrated.
PRESETS: dict[str, dict[str, Any]] = {
    "hyper": {
        "learning_rate": 1e-6,
        "prompts": 2,
        "group": 8,
        "temperature": 1.0,
        "loss": "grpo",
        "beta": 0.1,
        "max_new": 1024,
        "pause.tokens": 64,
        "pause.runs": 3,
        "pause.quantile": 0.15,
        "pause.keywords": ("tone", "intonation", "pitch", "volume", "music", "noise", "emotion"),
    }
}


def add_flags(
    parser: argparse.ArgumentParser, kind: type[Any], prefix: str = "", default: Any = None
) -> None:
    """One flag per field; fields of a nested dataclass have its name in front, `mode` is that name alone."""
    hints = typing.get_type_hints(kind, include_extras=True)
    default = default or kind()
    for f in dataclasses.fields(kind):
        hint, value = hints[f.name], getattr(default, f.name)
        if prefix and issubclass(kind, ModelConfig) and f.name in ModelConfig.__dataclass_fields__:
            continue  # a stage inside of a config takes these from it
        if dataclasses.is_dataclass(hint):
            add_flags(parser, typing.cast(type[Any], hint), f"{prefix}{f.name}.", value)
            continue
        name = (prefix + f.name).removesuffix(".mode").replace(".", "-").replace("_", "-")
        _add_flag(parser, f"--{name}", prefix + f.name, hint, value, _help(hint))


def _add_flag(
    parser: argparse.ArgumentParser, flag: str, dest: str, hint: Any, value: Any, text: str
) -> None:
    words = " ".join(value) if isinstance(value, tuple) else value
    shown = "" if value in ("", None, (), {}) else f" (default: {words})"
    common: dict[str, Any] = {
        "dest": dest,
        "default": argparse.SUPPRESS,
        "help": (text + shown).replace("%", "%%"),
    }
    plain = _plain(hint)
    if plain is bool:
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, **common)
    elif typing.get_origin(plain) is Literal:
        parser.add_argument(flag, choices=typing.get_args(plain), **common)
    elif typing.get_origin(plain) is tuple:
        inner = _plain(typing.get_args(plain)[0])
        choices = typing.get_args(inner) if typing.get_origin(inner) is Literal else None
        parser.add_argument(flag, nargs="*", choices=choices, metavar="WORD", **common)
    elif typing.get_origin(plain) is dict:
        parser.add_argument(flag, nargs="*", type=_weight, metavar="TASK=WEIGHT", **common)
    else:
        parser.add_argument(flag, type=plain, metavar=plain.__name__.upper(), **common)


def _help(hint: Any) -> str:
    """The words in an `Annotated` hint."""
    return next((m for m in getattr(hint, "__metadata__", ()) if isinstance(m, str)), "")


def _plain(hint: Any) -> Any:
    """The type without `Annotated` and without `| None`."""
    if typing.get_origin(hint) is typing.Annotated:
        return _plain(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return _plain(next(a for a in typing.get_args(hint) if a is not type(None)))
    return hint


def _weight(text: str) -> tuple[str, float]:
    task, _, number = text.partition("=")
    return task, float(number)


def from_flags(kind: type[Stage], flags: Mapping[str, Any]) -> Stage:
    """The stage's config from the flags of the command line (dotted names), checked. Raises PaqaError.

    Flags that are given go before those of a `preset`.
    """
    values = msgspec.to_builtins(kind())
    preset = PRESETS[flags["preset"]] if "preset" in flags else {}
    for name, value in (preset | dict(flags)).items():
        if name == "preset":
            continue
        *path, last = name.split(".")
        place = values
        for part in path:
            place = place[part]
        place[last] = dict(value) if last == "mix" else value
    return parse(values, kind, "flags")


def parse(values: Mapping[str, Any], kind: type[Stage], where: str) -> Stage:
    """A config out of plain values; PaqaError names the field that is wrong."""
    unknown = values.keys() - {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown:
        raise PaqaError(f"{where}: unknown {', '.join(sorted(unknown))}; expected fields of {kind.__name__}")
    try:
        return msgspec.convert(msgspec.to_builtins(dict(values)), kind)
    except msgspec.ValidationError as error:
        raise PaqaError(f"{where}: {error}") from None


def need(config: ModelConfig, *names: str) -> None:
    """Raise PaqaError where a field that this use needs was left empty."""
    missing = [f"--{name.replace('_', '-')}" for name in names if not getattr(config, name)]
    if missing:
        raise PaqaError(f"expected {' and '.join(missing)}; see --help")


def unchanged(config: ModelConfig, folder: Path) -> None:
    """PaqaError where the folder holds a checkpoint or answers of a run with another config.

    A `max_new` of 0 is not known yet, and is as any other.
    """
    now = json.loads(msgspec.json.encode(config))
    path = folder / FILE
    if path.exists() and any(next(folder.glob(result), None) for result in RESULTS):
        try:
            then = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise PaqaError(
                f"{path}: {error}; expected a run's settings as JSON; choose another --out"
            ) from None
        free: tuple[str, ...] = (
            "out",
            "store",
            "device",
            "quiet",
            "save_every",
            "keep",
            "tensorboard",
            "wandb",
            "compile",
        )
        if not now.get("max_new"):
            free += ("max_new",)
        changed = [k for k in now if k not in free and now[k] != then.get(k)]
        if changed:
            listed = ", ".join(f"{k} was {then.get(k)!r} and is {now[k]!r}" for k in changed)
            raise PaqaError(
                f"{path}: this run began otherwise ({listed}); choose another --out, or the same settings"
            )


def remember(config: ModelConfig, folder: Path) -> None:
    """Save a run's config beside it. Raises PaqaError as `unchanged` does."""
    unchanged(config, folder)
    now = json.loads(msgspec.json.encode(config))
    write_atomically(folder / FILE, json.dumps(now, indent=1).encode() + b"\n")
