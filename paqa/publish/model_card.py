"""The card (README.md) of an exported model: what it is, how it was trained, how it is asked, its figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from paqa.errors import PaqaError
from paqa.version import __version__

CONFIG, EVALUATION, TRAINED = (
    "config.json",
    "eval.json",
    "paqa.json",
)  # of a run, of paqa-train eval, of a model
SETTINGS = ("train", "rank", "learning_rate", "steps", "epochs", "batch", "prompts", "group", "seed")
FIGURES = ("rows", "accuracy", "accuracy_forced", "chance", "perception", "event_f1", "wer", "speaker_count")
USE = """
## Use

```python
from transformers import AutoProcessor, {kind}

name = "{name}"  # this folder; on the Hub ORG/{name}
processor = AutoProcessor.from_pretrained(name)
model = {kind}.from_pretrained(name)
```

A rationale comes before each answer: sounds and turns with their times, the argument, the answer in
RESPONSE. What the tags mean, and how to ask, is in paqa's documentation of the rationale; `paqa-train ask`
asks about one file. `generate` never samples PAUSE: pausing is done by `paqa-train` alone."""


def render(trained: Path, name: str, kind: str, evaluation: Path | None = None) -> str:
    """Markdown with the YAML header of a model called `name`, trained in the folder `trained`.

    `kind` is the class of transformers that loads it. `evaluation` is the folder of a `paqa-train eval`.
    No path of this machine is in it. Raises PaqaError where the evaluation cannot be read.
    """
    base, stages = history(trained)
    header = ["---", "library_name: transformers", "pipeline_tag: audio-text-to-text"]
    header += [f"base_model: {base}"] if _on_hub(base) else []
    header += ["tags:", "- paqa", "- audio-question-answering", "---"]
    body = [f"# {name}", "", f"{_shown(base)}, trained by paqa {__version__} to argue from what is heard."]
    body += ["", "## Training", "", *(f"{i}. {stage}" for i, stage in enumerate(stages, 1))]
    if not stages:
        body.append("None: the base as it was.")
    figures = [] if evaluation is None else ["", "## Evaluation", "", *_figures(evaluation)]
    return "\n".join([*header, "", *body, USE.format(kind=kind, name=name), *figures]) + "\n"


def history(trained: Path) -> tuple[str, list[str]]:
    """The base of a model, and its stages in order, by what their runs wrote beside them."""
    base, stages, source = str(trained), [], trained
    while (about := source / TRAINED).is_file():
        base = str(_read(about)["base"])
        config = source.parent / CONFIG
        if not config.is_file():
            break
        settings = _read(config)
        stages.append(_stage(settings))
        source = Path(str(settings["model"]))
    if base not in (str(source), str(source.resolve())):  # a run, or a model out of it, was moved away
        stages.append("stages of which no settings are left")
    return base, stages[::-1]


def _stage(settings: Mapping[str, Any]) -> str:
    stage = "GRPO" if "group" in settings else "SFT"
    idle = {"rank" if settings["train"] == "full" else "", "epochs" if settings["steps"] else "steps"}
    values = [f"{key} {settings[key]}" for key in SETTINGS if key in settings and key not in idle]
    pause = settings.get("pause", {}).get("mode", "off")
    return f"{stage} on {Path(settings['data']).name}: {', '.join(values)}, PAUSE {pause}"


def _figures(folder: Path) -> Iterator[str]:
    """A table, one column for each way of asking."""
    columns: dict[str, dict[str, float]] = _read(folder / EVALUATION)
    about = _read(folder / CONFIG)
    yield f"Rows of the split {about['split']} of {Path(about['data'] or about['questions']).name}."
    yield ""
    yield "| | " + " | ".join(columns) + " |"
    yield "|---|" + "---|" * len(columns)
    for name in FIGURES:
        cells = [f"{column[name]:.3g}" if name in column else "" for column in columns.values()]
        if any(cells):
            yield f"| {name} | " + " | ".join(cells) + " |"


def _read(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PaqaError(f"{path}: {error}; expected JSON that paqa-train wrote") from None
    return values


def _on_hub(name: str) -> bool:
    return not Path(name).is_absolute() and not Path(name).exists() and name.count("/") == 1


def _shown(name: str) -> str:
    """A name on the Hub as it is, of a folder its last part alone."""
    return name if _on_hub(name) else Path(name).name
