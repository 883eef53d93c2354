"""An htdemucs with random weights, as its authors publish it on the Hub: a yaml that names the bag, and
safetensors.

Rouard et al., "Hybrid Transformers for Music Source Separation" (ICASSP 2023). The arguments are those of the
published model (41,984,456 parameters; weights in half precision, as published), as far as its paper and the
code tell them.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

SIGNATURE = "955717e8"  # what the authors call the published weights
FULL: dict[str, Any] = {
    "sources": ["drums", "bass", "other", "vocals"],
    "audio_channels": 2,
    "samplerate": 44_100,
    "segment": Fraction(39, 5),
    "channels": 48,
    "depth": 4,
    "nfft": 4096,
    "bottom_channels": 512,
    "t_layers": 5,
    "t_heads": 8,
    "t_hidden_scale": 4.0,
    "dconv_mode": 3,
    "use_train_segment": True,
}
TINY = FULL | {
    "segment": Fraction(2),
    "channels": 8,
    "bottom_channels": 32,
    "t_layers": 1,
    "t_heads": 2,
    "t_hidden_scale": 2.0,
}


def make(folder: Path, tiny: bool = False, name: str = "htdemucs", seed: int = 0) -> Path:
    """Write `folder/demucs/NAME/{NAME.yaml,SIGNATURE.safetensors}` and return that folder; `tiny` is for
    tests.
    """
    import torch
    from demucs.htdemucs import HTDemucs

    target = folder / "demucs" / name
    target.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    save(HTDemucs(**(TINY if tiny else FULL)), target / f"{SIGNATURE}.safetensors")
    (target / f"{name}.yaml").write_text(f"models: ['{SIGNATURE}']\n")
    return target


def save(model: Any, path: Path) -> None:
    """One model of a bag, as demucs publishes them: the class and its arguments as JSON in the metadata."""
    from safetensors.torch import save_file

    args, kwargs = model._init_args_kwargs
    kind = type(model)
    metadata = {
        "klass": f"{kind.__module__}.{kind.__qualname__}",
        "args": json.dumps(encoded(list(args))),
        "kwargs": json.dumps(encoded(kwargs)),
    }
    save_file({key: value.half().contiguous() for key, value in model.state_dict().items()}, path, metadata)


def encoded(value: Any) -> Any:
    """Arguments as JSON; demucs writes fractions as objects."""
    if isinstance(value, Fraction):
        return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}
    if isinstance(value, dict):
        return {key: encoded(item) for key, item in value.items()}
    return [encoded(item) for item in value] if isinstance(value, (list, tuple)) else value
