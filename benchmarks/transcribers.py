"""Whisper tiny.en in three engines, on sentences with their texts, after `make models`:

    python benchmarks/transcribers.py

The same weights in `whisper` (the library openai-whisper), `transformers_asr` and `faster_whisper`: the
word error rate of each against the text, and its words and their times beside those of `whisper`, both
greedy.
"""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paqa.audio.decoding import decode
from paqa.config.recipe import AudioConfig
from paqa.engines.base import engine_class
from paqa.evaluation.metrics import normalizer
from paqa.types import Audio, Word

ROOT = Path(__file__).parents[1]
REFERENCE = "whisper, greedy"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--models", type=Path, default=ROOT / "data" / "models", help="what `make models` wrote"
    )
    parser.add_argument("--list", type=Path, default=ROOT / "manifests" / "real" / "speech.jsonl")
    parser.add_argument("--sentences", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    texts, clips = sentences(options.list, options.sentences)
    outputs = {name: transcribe(engine, params, clips) for name, engine, params in engines(options.models)}
    table = [figures(name, words, outputs[REFERENCE], texts) for name, words in outputs.items()]
    seconds = sum(clip.duration_ms for clip in clips) / 1000
    print(f"{len(clips)} sentences, {seconds:.0f} s; words and times beside those of {REFERENCE!r}")
    print(f"{'':28}  WER %  same words %  start, median ms  90 % within ms")
    for row in table:
        print(
            f"{row['engine']:28} {row['wer']:6.1f} {row['same_words']:13.1f} {row['start_median_ms']:17.0f}"
            f" {row['start_p90_ms']:15.0f}"
        )
    if options.json:
        about = {
            "list": options.list.name,
            "sentences": len(clips),
            "seconds": round(seconds, 1),
            "engines": table,
        }
        options.json.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def engines(models: Path) -> tuple[tuple[str, str, dict[str, Any]], ...]:
    """Name, engine and parameters, the reference first."""
    library = {"model": str(models / "whisper" / "tiny.en.pt"), "language": "en"}
    return (
        (REFERENCE, "whisper", {**library, "beam_size": 1}),
        ("whisper", "whisper", library),
        ("transformers_asr", "transformers_asr", {"model": str(models / "whisper-tiny.en")}),
        ("faster_whisper", "faster_whisper", {"language": "en"}),
    )


def sentences(path: Path, count: int) -> tuple[list[str], list[Audio]]:
    """Texts and clips of evenly spaced lines of a list with `path` and `text`."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    chosen = [lines[i] for i in np.linspace(0, len(lines) - 1, min(count, len(lines))).round().astype(int)]
    return [line["text"] for line in chosen], [
        decode(path.parent / line["path"], AudioConfig()) for line in chosen
    ]


def transcribe(name: str, params: dict[str, Any], clips: Sequence[Audio]) -> list[Sequence[Word]]:
    """The words of each clip."""
    kind = engine_class(name)
    engine = kind(kind.Params(**params))
    return [output.words for clip in clips for output in engine([clip])]


def figures(
    name: str,
    words: Sequence[Sequence[Word]],
    reference: Sequence[Sequence[Word]],
    texts: Sequence[str],
) -> dict[str, Any]:
    """Word error rate against the texts; the share of the reference's words, and how far they start apart."""
    import jiwer

    normal = normalizer("en")
    predicted = [normal(" ".join(word.text for word in clip)) for clip in words]
    same, apart = 0, []
    for ours, theirs in zip(words, reference, strict=True):
        one, two = ([normal(word.text) for word in clip] for clip in (ours, theirs))
        for a, b, size in difflib.SequenceMatcher(None, one, two, autojunk=False).get_matching_blocks():
            same += size
            apart += [abs(ours[a + i].start_ms - theirs[b + i].start_ms) for i in range(size)]
    return {
        "engine": name,
        "wer": round(100 * jiwer.wer([normal(text) for text in texts], predicted), 1),
        "same_words": round(100 * same / sum(map(len, reference)), 1),
        "start_median_ms": float(np.median(apart)),
        "start_p90_ms": float(np.percentile(apart, 90)),
    }


if __name__ == "__main__":
    main()
