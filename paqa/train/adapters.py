"""LoRA on the language model: one adapter goes through both stages, in float32 beside a base of any type.

It is merged on export only: merged into a base of bfloat16, a small update would be rounded away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from paqa.errors import PaqaError
from paqa.train import families

LORA = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
CURRENT, REFERENCE = "default", "reference"  # the adapter in use, and a copy of it as a stage began


def add(net: Any, rank: int, alpha: int, projector: bool) -> Any:
    """The network with a new adapter, which changes nothing yet, and with its own copy of the projector."""
    from peft import LoraConfig

    kept = [families.of(net).projector] if projector else None
    return _with_adapter(net, LoraConfig(r=rank, lora_alpha=alpha, target_modules=LORA, modules_to_save=kept))


def read(net: Any, folder: Path) -> Any:
    """The network with the adapter of a folder, frozen. Raises ValueError where some of it is missing."""
    from peft import LoraConfig, load_peft_weights, set_peft_model_state_dict

    net = _with_adapter(net, LoraConfig.from_pretrained(str(folder)))
    loaded: Any = set_peft_model_state_dict(net, load_peft_weights(str(folder), device="cpu"), CURRENT)
    if absent := [name for name in loaded.missing_keys if _is_of(CURRENT, name)]:
        raise ValueError(f"{folder.name} has no {absent[0]}")
    return net.requires_grad_(False)


def write(net: Any, folder: Path) -> None:
    """Write the adapter in use and, where it is trained, the projector."""
    net.save_pretrained(folder, selected_adapters=[CURRENT])


def go_on(net: Any, rank: int, alpha: int, projector: bool) -> None:
    """Train the adapter that was read, and keep a copy of it as the reference of this stage.

    Raises PaqaError where it was made otherwise than asked for. A trained projector that is not to be trained
    on stays in use.
    """
    made = net.peft_config[CURRENT]
    has_projector = bool(made.modules_to_save)
    if (made.r, made.lora_alpha) != (rank, alpha) or (projector and not has_projector):
        flags = f"--rank {made.r} --alpha {made.lora_alpha}" + ("" if has_projector else " --no-projector")
        raise PaqaError(
            f"found rank {rank}, alpha {alpha} and {'a' if projector else 'no'} projector to train; this "
            f"stage goes on training the model's own adapter, expected {flags}"
        )
    net.add_adapter(REFERENCE, made)
    parameters, trainable_projector = dict(net.named_parameters()), families.of(net).projector
    for name, p in parameters.items():
        if _is_of(REFERENCE, name):
            p.data = parameters[name.replace(f".{REFERENCE}.", f".{CURRENT}.")].detach().clone()
        p.requires_grad_(_is_of(CURRENT, name) and (projector or trainable_projector not in name))


@contextmanager
def reference(net: Any) -> Iterator[None]:
    """The network as this stage began: with the copy of the adapter, or without any where it is new."""
    if REFERENCE not in net.peft_config:
        with net.disable_adapter():
            yield
        return
    trained = [p for p in net.parameters() if p.requires_grad]
    net.set_adapter(REFERENCE, inference_mode=True)
    try:
        yield
    finally:
        net.set_adapter(CURRENT)  # which asks gradients of all of it
        net.requires_grad_(False)
        for p in trained:
            p.requires_grad_(True)


def projector_in_use(net: Any) -> Any:
    """The projector: a trained one, which is float32 whatever the rest is, or the base's."""
    projector: Any = families.projector(net)
    if not hasattr(projector, "modules_to_save"):
        return projector
    if projector.disable_adapters:
        return projector.original_module
    return projector.modules_to_save[projector.active_adapters[0]]


def merged(net: Any) -> Any:
    """The network with its adapter merged into its weights, in their type, and with the trained projector."""
    return net.merge_and_unload() if is_adapted(net) else net


def is_adapted(net: nn.Module) -> bool:
    """Whether there is an adapter."""
    return hasattr(net, "peft_config")


def _with_adapter(net: Any, config: Any) -> Any:
    from peft import get_peft_model

    net = get_peft_model(net, config, CURRENT)
    for name, p in net.named_parameters():
        if _is_of(CURRENT, name):
            p.data = p.data.float()
    return net


def _is_of(adapter: str, parameter: str) -> bool:
    """Whether a parameter of this name belongs to an adapter."""
    return f".{adapter}." in parameter
