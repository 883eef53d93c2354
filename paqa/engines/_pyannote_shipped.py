"""pyannote.audio's own pipeline on the networks that paqa ships: segmentation-3.0 and CAM++.

The segmentation network is pyannote.audio's, with the published weights, read from the ONNX file of paqa's
own diarizer. Speaker vectors come from CAM++ by ONNX Runtime, always on the CPU. The clustering is that of
speaker-diarization-3.1: VBx would need a PLDA for these vectors, which nobody publishes.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from pyannote.audio import Model
from pyannote.audio.core.plda import PLDA
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.models.segmentation import PyanNet
from pyannote.audio.pipelines import SpeakerDiarization

from paqa.engines._campplus import FRAME, HOP, RATE, log_mel
from paqa.engines._onnx import open_session
from paqa.errors import PaqaError

SEGMENTATION, EMBEDDING = "segmentation-3.0.onnx", "campplus.onnx"
WINDOW_S = 10.0
DIMENSION = 192
PROBED_FRAMES = 30  # of 10 ms: the pipeline embeds overlapped speech rather than less than this
LEAST_FRAMES = 10  # of 10 ms, that are embedded at all
CLUSTERING = {"method": "average", "threshold": 0.55, "min_cluster_size": 4}


def open_shipped_pipeline(folder: Path, step: float | None, threads: int) -> SpeakerDiarization:
    """The pipeline on the two ONNX files of a folder; `step` is the share of a window between windows."""
    pipeline = SpeakerDiarization(
        segmentation=pyannet(folder / SEGMENTATION),
        segmentation_step=0.1 if step is None else step,
        embedding=CamPlusPlus(folder / EMBEDDING, threads),
        embedding_exclude_overlap=True,
        plda=NoPLDA(),
        clustering="AgglomerativeClustering",
    )
    pipeline.instantiate({"segmentation": {"min_duration_off": 0.0}, "clustering": CLUSTERING})
    return pipeline


class NoPLDA(PLDA):
    """The pipeline's constructor wants one even where its clustering does not."""

    def __init__(self) -> None:
        pass


class CamPlusPlus(Model):
    """CAM++ as a model of pyannote.audio: vectors `(n, 192)` of windows `(n, 1, samples)` at 16 kHz.

    `weights` (n, frames) are activities; frames above 0.5 are embedded. Fewer than ten frames give NaN, which
    the pipeline leaves out of its clustering.
    """

    def __init__(self, path: Path, threads: int):
        super().__init__(sample_rate=RATE, num_channels=1)
        self._session = open_session(str(path), "cpu", threads)
        self.specifications = Specifications(Problem.REPRESENTATION, Resolution.CHUNK, duration=WINDOW_S)

    @property
    def dimension(self) -> int:
        return DIMENSION

    def forward(self, waveforms: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        """Raises ValueError for windows too short to embed: so the pipeline finds its shortest speech."""
        if waveforms.shape[-1] < FRAME + HOP * (PROBED_FRAMES - 1):
            raise ValueError(f"{waveforms.shape[-1]} samples are too short for CAM++")
        signals = waveforms[:, 0].cpu().numpy()
        active = np.ones((len(signals), 1)) if weights is None else weights.cpu().numpy()
        vectors = [self._vector(signal, mask) for signal, mask in zip(signals, active, strict=True)]
        return torch.from_numpy(np.stack(vectors)).to(waveforms.device)

    def _vector(self, signal: np.ndarray, active: np.ndarray) -> np.ndarray:
        if not active.any():
            return np.full(DIMENSION, np.nan, np.float32)
        bank = log_mel(signal)
        nearest = np.arange(len(bank)) * len(active) // len(bank)
        bank = bank[active[nearest] > 0.5]
        if len(bank) < LEAST_FRAMES:
            return np.full(DIMENSION, np.nan, np.float32)
        centred = (bank - bank.mean(axis=0))[None]
        vector: np.ndarray = self._session.run(None, {"bank": centred})[0][0]
        return vector


def pyannet(path: Path) -> Any:
    """pyannote.audio's segmentation network with the weights of an ONNX file of it, in eval mode.

    Raises PaqaError where the file holds another network.
    """
    network = PyanNet(lstm={"hidden_size": 128, "num_layers": 4, "bidirectional": True, "monolithic": True})
    speakers = ["speaker#1", "speaker#2", "speaker#3"]
    network.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=WINDOW_S,
        warm_up=(0.0, 0.0),
        classes=speakers,
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    network.setup()
    # the file holds the filters themselves, not the edges of their bands
    network.sincnet.conv1d[0] = torch.nn.Conv1d(1, 80, 251, stride=10, bias=False)
    try:
        network.load_state_dict(pyannet_state(path))
    except (IndexError, RuntimeError, ValueError) as error:
        raise PaqaError(
            f"{path}: expected the segmentation network that paqa ships ({type(error).__name__}: {error}); "
            "run: uv pip install --reinstall 'paqa[paper]'"
        ) from error
    return network.eval()


def pyannet_state(path: Path) -> dict[str, torch.Tensor]:
    """The weights under PyanNet's names; the graph holds its layers in their order."""
    layers = constants_by_operator(path)
    state: dict[str, np.ndarray] = {}
    norms = ["wav_norm1d", "norm1d.0", "norm1d.1", "norm1d.2"]
    for name, constants in zip(norms, layers["InstanceNormalization"], strict=True):
        state[f"sincnet.{name}.weight"], state[f"sincnet.{name}.bias"] = constants
    filters, *convolutions = layers["Conv"]
    state["sincnet.conv1d.0.weight"] = filters[0]
    for i, constants in enumerate(convolutions, start=1):
        state[f"sincnet.conv1d.{i}.weight"], state[f"sincnet.conv1d.{i}.bias"] = constants
    for i, constants in enumerate(layers["LSTM"]):
        state |= lstm_state(i, *constants[:3])
    linear = [(weight.T, bias) for (weight,), (bias,) in zip(layers["MatMul"], layers["Add"], strict=True)]
    for name, (weight, bias) in zip(("linear.0", "linear.1", "classifier"), linear, strict=True):
        state[f"{name}.weight"], state[f"{name}.bias"] = weight, bias
    return {name: torch.from_numpy(np.array(constant)) for name, constant in state.items()}


def lstm_state(layer: int, inputs: np.ndarray, hidden: np.ndarray, bias: np.ndarray) -> dict[str, np.ndarray]:
    """One bidirectional layer: ONNX has the gates in the order i, o, f, c, torch in i, f, c, o."""

    def reordered(gates: np.ndarray) -> np.ndarray:
        i, o, f, c = np.split(gates, 4)
        return np.concatenate([i, f, c, o])

    state = {}
    for direction, ending in enumerate(("", "_reverse")):
        bias_inputs, bias_hidden = np.split(bias[direction], 2)
        state[f"lstm.weight_ih_l{layer}{ending}"] = reordered(inputs[direction])
        state[f"lstm.weight_hh_l{layer}{ending}"] = reordered(hidden[direction])
        state[f"lstm.bias_ih_l{layer}{ending}"] = reordered(bias_inputs)
        state[f"lstm.bias_hh_l{layer}{ending}"] = reordered(bias_hidden)
    return state


def constants_by_operator(path: Path) -> dict[str, list[list[np.ndarray]]]:
    """The constant inputs of every node with one, by its operator, in the order of the graph."""
    graph = onnx.load(str(path)).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    found: dict[str, list[list[np.ndarray]]] = defaultdict(list)
    for node in graph.node:
        if inputs := [constants[name] for name in node.input if name in constants]:
            found[node.op_type].append(inputs)
    return found
