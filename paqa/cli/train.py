"""`paqa-train base|sft|grpo|eval|all|score|export|push|ask`. Nothing heavy is imported before a choice."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from paqa.cli import exit_status
from paqa.cli.environment import QUIET
from paqa.dataset import shards
from paqa.errors import PaqaError, Rejected
from paqa.rationale import grammar, rewards
from paqa.rationale.answers import accuracies
from paqa.sources import json_reading
from paqa.train.config import (
    OFF,
    PRESETS,
    AllConfig,
    EvalConfig,
    GrpoConfig,
    SftConfig,
    add_flags,
    from_flags,
)
from paqa.train.figures import means, time_figures
from paqa.types import Item

GO_ON = "stopped; run the same command again to go on from the last checkpoint"
COLUMNS = (
    *("accuracy", "accuracy_strict", "accuracy_by_letter", "accuracy_by_text", "chance"),
    *("format", "perception", "event_f1_timed", "speaker_overlap", "alignment", "reward"),
)
STAGES: dict[str, tuple[type[Any], str, str]] = {
    "sft": (SftConfig, "paqa.train.sft:train", "stage I: learn to write the rows' rationales"),
    "grpo": (GrpoConfig, "paqa.train.grpo:train", "stage II: reinforce what rewards favour"),
    "all": (
        AllConfig,
        "flows.train:launch",
        "sft, grpo and eval as a Prefect flow, each into its own folder of --out",
    ),
    "eval": (
        EvalConfig,
        "paqa.train.evaluate:run",
        "accuracy and perception on a build's split or a benchmark",
    ),
}


def parser() -> argparse.ArgumentParser:
    """All commands and flags; those of the stages come from their config dataclasses."""
    top = argparse.ArgumentParser(
        "paqa-train", description="Train and test an audio language model on PAQA shards."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    base = commands.add_parser("base", help="make a base with whisper tiny.en's encoder")
    base.add_argument("--out", type=Path, required=True, metavar="DIR")
    sizes = "language model: small is SmolLM2-135M, nano an untrained one of 2.6 M (default: small)"
    base.add_argument("--size", choices=("small", "nano"), default="small", help=sizes)
    base.add_argument("--data", type=Path, metavar="DIR", help="nano: build whose words it is to know")
    base.add_argument("--seed", type=int, default=0, help="of what is not trained yet (default: 0)")
    for name, (kind, _, text) in STAGES.items():
        stage = commands.add_parser(name, help=text)
        if name == "grpo":
            text = "hyper: the paper's settings, but for flags that are given"
            stage.add_argument("--preset", choices=PRESETS, default=argparse.SUPPRESS, help=text)
        add_flags(stage, kind)
    score = commands.add_parser("score", help="accuracy, format and perception of given completions")
    score.add_argument("dir", type=Path, help="a build's folder")
    score.add_argument(
        "completions",
        nargs="?",
        type=Path,
        help="JSONL with id and completion (default: the rows' own rationales)",
    )
    _add_uses(commands)
    return top


def _add_uses(commands: Any) -> None:
    """The commands that use a trained model: export, push and ask."""
    export = commands.add_parser("export", help="write a plain Hugging Face checkpoint, LoRA merged")
    export.add_argument("run", help="folder of a trained model (RUN/best or RUN/last)")
    export.add_argument("out", type=Path, help="new folder of the checkpoint")
    precision = "type that weights are cast to; bfloat16 rounds small updates away"
    export.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16", help=precision)
    export.add_argument("--eval", type=Path, metavar="DIR", help="of paqa-train eval: figures for its card")
    push = commands.add_parser(
        "push", help="publish an exported model as a repository of the Hugging Face Hub"
    )
    push.add_argument("dir", type=Path, help="what paqa-train export wrote")
    push.add_argument("repo", metavar="ORG/NAME")
    push.add_argument("--yes", action="store_true", help="do it (default: show what would change)")
    push.add_argument("--public", action="store_true", help="for everybody to see (default: private)")
    ask = commands.add_parser("ask", help="ask a model one question about one audio file")
    ask.add_argument("model", help="Hub id or folder of a base or a trained model")
    ask.add_argument("file", type=Path, help="audio in any format that paqa reads")
    ask.add_argument("question")
    ask.add_argument("--choices", nargs="+", default=(), metavar="TEXT", help="answers to choose from")
    ask.add_argument("--pause", action=argparse.BooleanOptionalAction, default=True, help="as it was trained")
    ask.add_argument("--max-new", type=int, default=0, help="sampled tokens at most; 0: as it was trained")
    ask.add_argument("--device", default="auto", help="cpu, cuda, cuda:1; auto: cuda where there is one")
    ask.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto")


def completions(path: Path) -> dict[str, str]:
    """Completions by row id; PaqaError names file and line of what is wrong."""
    texts: dict[str, str] = {}
    for number, line in json_reading.rows(path, str(path), "expected JSONL with the keys id and completion"):
        try:
            if isinstance(line, Rejected):
                raise line
            row = json.loads(line)
            texts[row["id"]] = str(row["completion"])
        except (ValueError, TypeError, KeyError, RecursionError, Rejected) as error:
            raise PaqaError(
                f"{path}:{number}: {error!r}; expected an object with id and completion"
            ) from None
    return texts


def score(item: Item, completion: str) -> dict[str, float]:
    """The figures of a completion by name, and its reward but for its length, which only a tokenizer knows.

    Those by letter and by text, and chance, are of questions with choices alone.
    """
    reference = rewards.Reference.of(item)
    right = accuracies(completion, item.choices, item.answer_index, item.answer, reference.letters)
    terms = rewards.terms(completion, reference)
    return {name: value for name in COLUMNS if (value := (right | terms).get(name)) is not None}


def table(answered: Sequence[tuple[Item, str]]) -> Iterator[str]:
    """Figures over all rows and by task, each over the rows that have it; `-` where none has."""
    groups: dict[str, list[tuple[Item, str]]] = {"all": list(answered)}
    for item, completion in answered:
        groups.setdefault(item.task, []).append((item, completion))
    scores = {item.id: score(item, completion) for item, completion in answered}
    yield f"{'':<14} {'rows':>6} " + " ".join(f"{column:>10}" for column in COLUMNS)
    for name, rows in groups.items():
        figures = means(scores[item.id] for item, _ in rows) | time_figures(rows)
        cells = [f"{figures[c]:.3f}" if c in figures else "-" for c in COLUMNS]
        padded = (f"{cell:>{max(10, len(c))}}" for c, cell in zip(COLUMNS, cells, strict=True))
        yield f"{name:<14} {len(rows):>6} " + " ".join(padded)


def run_score(args: argparse.Namespace) -> None:
    """Print the rewards of completions on a build's rows."""
    completions_by_id = completions(args.completions) if args.completions else None
    columns = list(Item.__dataclass_fields__)
    items = [shards.item(row) for row in shards.rows(args.dir, columns)]
    if completions_by_id is not None and not completions_by_id.keys() & {i.id for i in items}:
        raise PaqaError(f"{args.completions}: no id of {args.dir} is in it; use the column id of its rows")
    if completions_by_id is not None:  # answers to one split are not counted as missing in the others
        asked = {i.split for i in items if i.id in completions_by_id}
        items = [i for i in items if i.split in asked]
    texts = {i.id: i.rationale for i in items} if completions_by_id is None else completions_by_id
    print("\n".join(table([(i, texts.get(i.id, "")) for i in items])))
    if missing := sum(i.id not in texts for i in items):
        print(f"{missing} rows without a completion count as 0")


def run_base(args: argparse.Namespace) -> None:
    """Make a base."""
    if (args.size == "nano") != (args.data is not None):
        raise PaqaError("--size nano and --data DIR go together: the nano base learns its vocabulary there")
    quiet_libraries()
    from paqa.train import nano_base_model, small_base_model

    if args.data:
        parameters = nano_base_model.make(args.out, args.data, args.seed)
    else:
        parameters = small_base_model.make(args.out, args.seed)
    command = f"paqa-train sft --model {args.out} --data {args.data or 'DIR'} --out RUN"
    print(f"{args.out}: {parameters / 1e6:.0f} M parameters; next: {command}")


def run_export(args: argparse.Namespace) -> None:
    """Write a trained model as a plain checkpoint."""
    quiet_libraries()
    from paqa.train import export

    network = export.export(args.run, args.out, args.dtype, args.eval)
    print(f"{args.out}: a checkpoint in {args.dtype} for transformers' {network}")


def run_push(args: argparse.Namespace) -> None:
    """Send an exported model to the Hub: a dry run without --yes."""
    from paqa.publish import hub, model_hub

    api = hub.connect()
    plan = model_hub.plan(args.dir, args.repo, api, args.public)
    print(model_hub.text(plan))
    if not plan.new:
        print("\nnothing to do: the Hub has this model already")
    elif not args.yes:
        print("\nnothing was sent; add --yes to push")
    else:
        print(f"\n{args.repo}  {model_hub.push(plan, api, print)}")


def run_ask(args: argparse.Namespace) -> None:
    """Print a model's answer about a file, the choice that it names, and how often it paused."""
    if args.max_new < 0:
        raise PaqaError(f"--max-new: found {args.max_new}; expected 0 or more")
    quiet_libraries()
    from paqa.train import ask, length_limits, model

    policy = model.load(args.model, args.device, args.dtype)
    pause = policy.pause_config if args.pause and policy.pause_config else OFF
    max_new = args.max_new or policy.max_new or length_limits.MAX_NEW
    answer = ask.ask(policy, args.file, args.question, args.choices, max_new, pause)
    print(f"{answer.text}\n")
    if answer.choice is not None:
        index = answer.choice if policy.letters else None
        print(f"choice: {grammar.response(index, args.choices[answer.choice])}")
    elif args.choices:
        print("choice: none is named" + (f", it was cut after {max_new} tokens" if answer.cut else ""))
    print(f"pauses: {answer.pauses}")


def run_stage(args: argparse.Namespace) -> int:
    """Run a stage with its flags; 1 where an evaluation could not ask every row."""
    kind, place, _ = STAGES[args.command]
    config = from_flags(kind, {k: v for k, v in vars(args).items() if k != "command"})
    module, _, name = place.partition(":")
    if args.command == "all":
        from flows import settings

        settings.apply(Path(config.out).resolve().parent / ".paqa")
    if args.command == "all" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise PaqaError("all is for one process; under torchrun: sft, grpo and eval")
    quiet_libraries()
    figures = getattr(importlib.import_module(module), name)(config)
    if os.environ.get("RANK", "0") != "0":
        return 0
    if args.command in ("eval", "all"):
        print("\n".join(importlib.import_module("paqa.train.evaluate").table(figures)))
        return int(any(column.get("unasked") for column in figures.values()))
    print("  ".join(f"{k} {v:.4g}" for k, v in figures.items()) or "nothing validated")
    folders = [str(folder) for name in ("best", "last") if (folder := Path(config.out) / name).is_dir()]
    print(f"trained: {' and '.join(folders)}")
    return 0


def quiet_libraries() -> None:
    """Bars of loading weights, and what libraries say to one another, are noise beside our own progress."""
    # peft asks transformers by an old name
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
    from transformers.utils import logging

    library: Any = logging
    library.disable_progress_bar()
    library.set_verbosity_error()


COMMANDS = {
    "base": run_base,
    "score": run_score,
    "export": run_export,
    "push": run_push,
    "ask": run_ask,
}


def run(args: argparse.Namespace) -> int:
    """Run a command; returns its exit status."""
    return COMMANDS.get(args.command, run_stage)(args) or 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; errors are one line on stderr and exit 2, rows that could not be asked 1."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    extras = dict.fromkeys(["base", "export", "ask", *STAGES], "train") | {"all": "train,flow", "push": "hub"}
    return exit_status.run(parser(), argv, run, GO_ON, extras)


if __name__ == "__main__":
    sys.exit(main())
