"""pyannote.audio's diarization pipeline, opened without running code from its files, without wasted passes.

`pyannote.audio` opens checkpoints with a full unpickler, imports the modules that they and `config.yaml`
name, and calls what their hyper-parameters name. Here the files are read by `weights.torch_load`, and
only the two published architectures are built. This module imports torch; `paqa.engines.pyannote` imports it
when an engine is made.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyannote.audio import Model
from pyannote.audio.core.plda import PLDA
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.pipelines import SpeakerDiarization
from pyannote.audio.pipelines.clustering import VBxClustering
from pyannote.audio.utils.dependencies import check_dependencies
from pyannote.core import SlidingWindowFeature
from torch.nn.functional import interpolate
from torch.torch_version import TorchVersion

from paqa.engines.weights import torch_load
from paqa.errors import PaqaError

# all that the published checkpoints hold beside tensors
PLAIN = (Problem, Resolution, Specifications, TorchVersion)
SEGMENTATION = "pyannote.audio.models.segmentation.PyanNet"
EMBEDDING = "pyannote.audio.models.embedding.wespeaker"


class SinglePassDiarization(SpeakerDiarization):
    """The stock pipeline with the embeddings of all local speakers of a window from one pass of the network.

    The stock one runs the same window through the ResNet once per local speaker, silent ones included, and
    always all of its 10 s. Here a window takes one pass, over the frames that the pooling weighs and as far
    around them as the network sees; a window in which nobody speaks takes none. Vectors differ from the stock
    ones by 1e-6, where windows are batched by 4e-6. (Folded batch norms and channels last in memory would
    save 15 % more, at 2e-5.)
    """

    def __init__(self, segmentation: Model, embedding: Model, plda: PLDA, **params: Any):
        super().__init__(segmentation=segmentation, embedding=embedding, plda=plda, **params)
        self.clustering = BoundedVBx(plda, metric=self._embedding.metric)
        self._receptive_field = receptive_field(embedding.resnet)

    def get_embeddings(
        self, file: Any, binary_segmentations: Any, exclude_overlap: bool = False, hook: Any = None
    ) -> np.ndarray:
        """One vector per window and local speaker, as the stock method: float32 `(windows, speakers, 256)`.

        `binary_segmentations.data` is `(windows, frames, speakers)`. Memory is that of one batch of windows.
        """
        model, windows = self._embedding.model_, binary_segmentations.sliding_window
        seconds = windows.duration
        least = self._least(binary_segmentations.data.shape[1], seconds) if exclude_overlap else -1
        frame_masks = torch.from_numpy(speaker_masks(binary_segmentations.data, exclude_overlap, least))
        pooled = model.num_frames(round(seconds * self._embedding.sample_rate))
        weights = interpolate(frame_masks, size=pooled, mode="nearest")  # as the pooling would do
        silent = model.resnet.seg_1.bias.detach().cpu().numpy()  # of an empty mask: mean 0, deviation 0
        vectors = np.broadcast_to(silent, (*weights.shape[:2], len(silent))).copy()
        with_speech = np.flatnonzero(weights.any(dim=2).any(dim=1).numpy())
        for start in range(0, len(with_speech), self.embedding_batch_size):
            batch = with_speech[start : start + self.embedding_batch_size]
            sound = torch.stack([self._audio.crop(file, windows[int(i)], mode="pad")[0] for i in batch])
            vectors[batch] = self._embed(sound, weights[batch])
        return vectors

    def _least(self, frames: int, seconds: float) -> int:
        """Frames of a window that are too few to embed alone."""
        samples = seconds * self._embedding.sample_rate
        return int(np.ceil(frames * self._embedding.min_num_samples / samples))

    def _embed(self, sound: torch.Tensor, weights: torch.Tensor) -> np.ndarray:
        """Vectors `(n, speakers, 256)` of windows `(n, 1, samples)` and weights `(n, speakers, frames)`."""
        model, device = self._embedding.model_, self._embedding.device
        used = torch.nonzero(weights.any(dim=1).any(dim=0)).flatten()
        stride, around = self._receptive_field
        first, last = max(0, int(used[0]) - around), min(weights.shape[2], int(used[-1]) + 1 + around)
        with torch.inference_mode():
            bank = model.compute_fbank(sound.to(device))[:, first * stride : last * stride]
            frames = model.resnet.forward_frames(bank).contiguous()
            vectors = model.resnet.forward_embedding(frames, weights=weights[:, :, first:last].to(device))[1]
        vectors_cpu: np.ndarray = vectors.cpu().numpy()
        return vectors_cpu


class BoundedVBx(VBxClustering):
    """VBx that prints nothing, and never asks k-means for more speakers than vectors, which raises."""

    def __call__(
        self,
        embeddings: np.ndarray,
        segmentations: SlidingWindowFeature | None = None,
        num_clusters: int | None = None,
        min_clusters: int | None = None,
        max_clusters: int | None = None,
        **more: Any,
    ) -> Any:
        usable = max(1, len(self.filter_embeddings(embeddings, segmentations=segmentations)[0]))
        count = num_clusters and min(num_clusters, usable)
        least, most = min(min_clusters or 1, usable), max_clusters or usable
        with contextlib.redirect_stdout(io.StringIO()):
            return super().__call__(embeddings, segmentations, count, least, most, **more)


def speaker_masks(active: np.ndarray, exclude_overlap: bool, least: int) -> np.ndarray:
    """The frames to embed a speaker from: float32 `(windows, speakers, frames)`.

    `active` are activities `(windows, frames, speakers)`. With `exclude_overlap`, frames of two speakers
    count for neither, unless a speaker would keep at most `least` of them.
    """
    active = np.nan_to_num(active).astype(np.float32)
    if exclude_overlap:
        alone = active * (active.sum(axis=2, keepdims=True) < 2)
        active = np.where(alone.sum(axis=1, keepdims=True) > least, alone, active)
    return np.ascontiguousarray(active.transpose(0, 2, 1))


def receptive_field(resnet: Any) -> tuple[int, int]:
    """Input frames per output frame of a ResNet, and how many output frames it sees to either side."""
    stride, seen = 1, 0
    for name, layer in resnet.named_modules():
        if isinstance(layer, torch.nn.Conv2d) and "shortcut" not in name:
            seen += stride * (layer.kernel_size[1] // 2)
            stride *= layer.stride[1]
    return stride, -(-seen // stride)


def open_pipeline(
    folder: Path, config: dict[str, Any], step: float | None, allow_pickle: bool, pin: str
) -> SinglePassDiarization:
    """The pipeline of a folder whose `config.yaml` was checked; PaqaError names a file that it cannot use.

    `step` is the share of a window between windows, None for the config's own; `pin` is the hash of the
    folder.
    """
    params = dict(config["pipeline"]["params"])
    parts = {
        name: folder / params.pop(name).removeprefix("$model/")
        for name in ("segmentation", "embedding", "plda")
    }
    if step is not None:
        params["segmentation_step"] = step
    try:
        check_dependencies(config.get("dependencies", {}), str(folder / "config.yaml"))
        pipeline = SinglePassDiarization(
            segmentation=open_model(
                parts["segmentation"] / "pytorch_model.bin", SEGMENTATION, allow_pickle, pin
            ),
            embedding=open_model(parts["embedding"] / "pytorch_model.bin", EMBEDDING, allow_pickle, pin),
            plda=open_plda(parts["plda"]),
            **params,
        )
        pipeline.instantiate(config["params"])
    except PaqaError:
        raise
    except Exception as error:  # whatever pyannote.audio raises on it, the file is to blame
        raise PaqaError(f"{folder / 'config.yaml'}: pyannote.audio cannot use it: {error}") from error
    return pipeline


def open_model(path: Path, module: str, allow_pickle: bool, pin: str) -> Any:
    """The network of a checkpoint, in eval mode; only of a class of `module`, a module of pyannote.audio.

    Built here and not by `Model.from_pretrained`, which unpickles all and calls what hyper-parameters name.
    """
    if not path.is_file():
        raise PaqaError(
            f"{path}: no such file; expected a checkpoint of {module}; fetch the whole model again"
        )
    try:
        checkpoint = torch_load(path, PLAIN, allow_pickle, pin)
        described = checkpoint["pyannote.audio"]
        kind = _architecture(path, described["architecture"], module)
        check_dependencies({"pyannote.audio": described["versions"]["pyannote.audio"]}, str(path))
        accepted = set(inspect.signature(kind).parameters) - {"task"}
        model = kind(**{k: v for k, v in checkpoint["hyper_parameters"].items() if k in accepted})
        model.on_load_checkpoint(checkpoint)
        state = checkpoint["state_dict"]
        model.load_state_dict({k: v for k, v in state.items() if not k.startswith("loss_func.")})
    except PaqaError:
        raise
    except Exception as error:  # as in open_pipeline
        raise PaqaError(
            f"{path}: expected a checkpoint of pyannote.audio; {type(error).__name__}: {error}"
        ) from error
    return model.eval()


def _architecture(path: Path, named: dict[str, str], module: str) -> Any:
    """The class that a checkpoint names, of the one module that it may be of."""
    kind = None
    if named["module"] == module:
        kind = getattr(importlib.import_module(module), named["class"], None)
    if not (isinstance(kind, type) and issubclass(kind, Model)):
        raise PaqaError(
            f"{path}: found the architecture {named['module']}.{named['class']}, "
            f"expected a network of {module}; nothing was imported"
        )
    return kind


def open_plda(folder: Path) -> PLDA:
    """The transforms that VBx compares vectors with; numpy refuses arrays of pickled objects by itself."""
    try:
        return PLDA(folder / "xvec_transform.npz", folder / "plda.npz")
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, np.linalg.LinAlgError) as error:
        what = "xvec_transform.npz (mean1, mean2, lda) and plda.npz (mu, tr, psi)"
        problem = f"{type(error).__name__}: {error}"
        raise PaqaError(f"{folder}: expected {what}, plain arrays; {problem}") from error
