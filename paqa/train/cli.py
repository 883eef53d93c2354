"""`paqa-train score`: what completions earn on a build's rows, with the rewards that training uses.

The training stages (`sft`, `grpo`, `eval`) are not part of this version.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from paqa import shard
from paqa.errors import PaqaError
from paqa.train import rewards
from paqa.types import Item

TERMS = ("accuracy", "format", "perception", "alignment", "reward")


def parser() -> argparse.ArgumentParser:
    """All commands and flags."""
    top = argparse.ArgumentParser("paqa-train", description="Rewards of completions on PAQA shards.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    score = commands.add_parser("score", help="accuracy, format and perception of completions")
    score.add_argument("dir", type=Path, help="a build's folder")
    score.add_argument(
        "completions", nargs="?", type=Path, help="JSONL with id and completion (default: the rows' own rationales)"
    )
    return top


def completions(path: Path) -> dict[str, str]:
    """Completions by row id; PaqaError names file and line of what is wrong."""
    found: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise PaqaError(f"{path}: {error.strerror}; expected JSONL with the keys id and completion") from None
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            found[row["id"]] = str(row["completion"])
        except (ValueError, TypeError, KeyError) as error:
            raise PaqaError(f"{path}:{number}: {error!r}; expected an object with id and completion") from None
    return found


def score(item: Item, completion: str) -> tuple[float, ...]:
    """The terms of one completion, and their weighted sum; its length, which only a tokenizer knows, left out."""
    found = rewards.terms(
        completion, item.choices, item.answer_index, item.scene, answer=item.answer, evidence=item.evidence
    )
    return tuple(found[term] for term in TERMS)


def table(scored: Sequence[tuple[str, tuple[float, ...]]]) -> Iterator[str]:
    """Means over all rows and by task."""
    groups: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for task, terms in scored:
        groups["all"].append(terms)
        groups[task].append(terms)
    yield f"{'':<14} {'rows':>6} " + " ".join(f"{term:>10}" for term in TERMS)
    for name, rows in groups.items():
        means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        yield f"{name:<14} {len(rows):>6} " + " ".join(f"{mean:>10.3f}" for mean in means)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; errors are one line and exit 2."""
    args = parser().parse_args(argv)
    try:
        given = completions(args.completions) if args.completions else None
        columns = list(Item.__dataclass_fields__)
        items = [shard.item(row) for row in shard.rows(args.dir, columns)]
        if given is not None and not given.keys() & {i.id for i in items}:
            raise PaqaError(f"{args.completions}: no id of {args.dir} is in it; use the column id of its rows")
        texts = {i.id: i.rationale for i in items} if given is None else given
        scored = [(i.task, score(i, texts.get(i.id, ""))) for i in items]
    except PaqaError as error:
        print(f"paqa-train {args.command}: {error}", file=sys.stderr)
        return 2
    print("\n".join(table(scored)))
    if missing := sum(i.id not in texts for i in items):
        print(f"{missing} rows without a completion count as 0")
    return 0


if __name__ == "__main__":
    sys.exit(main())
