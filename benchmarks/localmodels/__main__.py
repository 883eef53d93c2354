"""Make all models into a folder, with a `models.toml` that chooses them: `python -m localmodels DIR`."""

from __future__ import annotations

import argparse
from pathlib import Path

from localmodels import make_demucs, make_panns, make_pyannote, make_whisper, make_whisper_hf
from paqa.engines.weights import CHOICES_FILE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tiny", action="store_true", help="small networks where the architecture allows it")
    args = parser.parse_args()
    chosen = {
        "whisper": make_whisper.make(args.folder),
        "transformers_asr": make_whisper_hf.make(args.folder),
    }
    make_demucs.make(args.folder, tiny=args.tiny)
    make_pyannote.make(args.folder, tiny=args.tiny)
    make_panns.make(args.folder)
    tables = (f'[{engine}]\nmodel = "{_below(args.folder, made)}"\n' for engine, made in chosen.items())
    text = "\n".join(tables)
    (args.folder / CHOICES_FILE).write_text(text, encoding="utf-8")
    print(f"{args.folder}: demucs, pyannote and panns with random weights,")
    print("whisper tiny.en with its published ones, for the engines whisper and transformers_asr")


def _below(folder: Path, made: Path) -> str:
    return made.relative_to(folder).as_posix()


if __name__ == "__main__":
    main()
