"""A diarization pipeline in the layout of pyannote/speaker-diarization-community-1, with locally made
weights.

The architectures and sizes are the published ones: PyanNet (Bredin 2023; powerset of Plaquet & Bredin 2023;
1,473,265 parameters) and WeSpeaker ResNet34 (Wang et al. 2023; 6,634,336 parameters), and a PLDA for VBx
(Landini et al. 2022). The weights are drawn, not trained: what comes out has the form of turns, and nothing
more. `calibrate` only sees to it that the drawn networks answer differently to different sounds, so that
every branch of the pipeline is walked.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "false")  # before pyannote.audio is imported

import lightning.pytorch
from pyannote.audio import Model
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.models.embedding import WeSpeakerResNet34
from pyannote.audio.models.segmentation import PyanNet

# Python 3.11.2 writes the members as calls of getattr, which a loader that runs no code refuses.
for _kind in (Problem, Resolution):
    _kind.__reduce_ex__ = lambda member, protocol: (type(member), (member.value,))

NAME = "pyannote/speaker-diarization-community-1"
RATE = 16_000  # Hz
CONFIG: dict[str, Any] = {
    "dependencies": {"pyannote.audio": "4.0.0"},
    "pipeline": {
        "name": "pyannote.audio.pipelines.SpeakerDiarization",
        "params": {
            "clustering": "VBxClustering",
            "segmentation": "$model/segmentation",
            "segmentation_batch_size": 32,
            "embedding": "$model/embedding",
            "embedding_batch_size": 32,
            "embedding_exclude_overlap": True,
            "plda": "$model/plda",
        },
    },
    "params": {
        "segmentation": {"min_duration_off": 0.0},
        "clustering": {"threshold": 0.6, "Fa": 0.07, "Fb": 0.8},
    },
}


def make(folder: Path, tiny: bool = False, seed: int = 0) -> Path:
    """Write the pipeline below a models folder; `tiny` has fewer units and 8 mel bands, for tests."""
    home = Path(folder) / NAME
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sounds = rumble(seed)
        save(
            calibrated_segmentation(segmentation(8 if tiny else 128, 1 if tiny else 4), sounds),
            home / "segmentation",
        )
        save(calibrated_embedding(embedding(8 if tiny else 80), sounds), home / "embedding")
    plda(home / "plda", np.random.default_rng(seed))
    (home / "config.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    return home


def segmentation(units: int, layers: int) -> PyanNet:
    """Windows of 10 s to one of the seven subsets of at most two of three speakers, every 17 ms."""
    lstm = {"hidden_size": units, "num_layers": layers, "bidirectional": True, "monolithic": True}
    model = PyanNet(lstm=lstm, linear={"hidden_size": units, "num_layers": 2})
    model.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=10.0,
        classes=["speaker#1", "speaker#2", "speaker#3"],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    model.setup()
    return model.eval()


def embedding(bands: int) -> WeSpeakerResNet34:
    """Speech to a vector of 256 numbers."""
    model = WeSpeakerResNet34(num_mel_bins=bands)
    model.specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=5.0, classes=["a", "b"]
    )
    model.setup()
    return model.eval()


def rumble(seed: int) -> torch.Tensor:
    """Sounds to calibrate on: noise of four colours whose loudness comes and goes, float32 `(8, 1,
    160000)`.
    """
    drawn = np.random.default_rng(seed)
    n = 10 * RATE
    colour = np.linspace(0.0, 1.5, 8)[:, None]
    spectrum = np.fft.rfft(drawn.normal(size=(8, n))) / np.maximum(np.arange(n // 2 + 1), 50) ** colour
    sound = np.fft.irfft(spectrum, n)
    loudness = np.repeat(drawn.choice([0.001, 0.05, 0.2], size=(8, 20)), n // 20, axis=1)
    return torch.from_numpy((sound / sound.std(axis=1, keepdims=True) * loudness).astype(np.float32))[:, None]


@torch.no_grad()
def calibrated_segmentation(model: PyanNet, sounds: torch.Tensor) -> PyanNet:
    """Scores of every class with mean 0 and spread 1 over the sounds, less for two at a time, as in
    conversations.
    """
    scores: list[torch.Tensor] = []
    hook = model.classifier.register_forward_hook(lambda _module, _given, scored: scores.append(scored))
    model(sounds)
    hook.remove()
    flat = scores[0].flatten(0, 1)
    spread = flat.std(dim=0)
    model.classifier.weight /= spread[:, None]
    model.classifier.bias.copy_((model.classifier.bias - flat.mean(dim=0)) / spread)
    model.classifier.bias[4:] -= 2.0  # the classes: nobody, 1, 2, 3, then 1 and 2, 1 and 3, 2 and 3
    return model


@torch.no_grad()
def calibrated_embedding(model: WeSpeakerResNet34, sounds: torch.Tensor) -> WeSpeakerResNet34:
    """Batch statistics of the sounds, and vectors of mean 0 over them, as a trained network has."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the plain mean over batches
    model.train()
    model(sounds)
    model.eval()
    for norm in norms:
        norm.momentum = 0.1
    model.resnet.seg_1.bias -= model(sounds).mean(dim=0)
    return model


def save(model: Model, folder: Path) -> None:
    """A checkpoint as pyannote.audio's training writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint: dict[str, Any] = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "pytorch-lightning_version": lightning.pytorch.__version__,
        "epoch": 0,
        "global_step": 0,
    }
    model.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, folder / "pytorch_model.bin")


def plda(folder: Path, drawn: np.random.Generator, size: int = 256, kept: int = 128) -> None:
    """Rotations in place of the learned transforms, and between-speaker variances from 2 down to 0.1."""
    folder.mkdir(parents=True, exist_ok=True)
    lda, _ = np.linalg.qr(drawn.normal(size=(size, size)))
    turn, _ = np.linalg.qr(drawn.normal(size=(kept, kept)))
    np.savez(folder / "xvec_transform.npz", mean1=np.zeros(size), mean2=np.zeros(kept), lda=lda[:, :kept])
    np.savez(folder / "plda.npz", mu=np.zeros(kept), tr=turn, psi=np.linspace(2.0, 0.1, kept))
