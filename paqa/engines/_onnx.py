"""One way to open an ONNX model."""

from __future__ import annotations

from typing import Any

from paqa.errors import PaqaError

CUDA = "CUDAExecutionProvider"


def open_session(path: str, device: str, threads: int) -> Any:
    """An `onnxruntime.InferenceSession` on `device` ("cpu", "cuda") with `threads` threads a node.

    PaqaError where it would run on the CPU although `device` is "cuda": store keys name the device.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    on_gpu = device.startswith("cuda")
    providers = [CUDA] * on_gpu + ["CPUExecutionProvider"]  # operators without a CUDA kernel stay on the CPU
    session = None
    if not on_gpu or CUDA in onnxruntime.get_available_providers():
        session = onnxruntime.InferenceSession(path, sess_options=options, providers=providers)
    if session is None or (on_gpu and CUDA not in session.get_providers()):
        available = ", ".join(onnxruntime.get_available_providers())
        raise PaqaError(
            f"--device {device}: ONNX Runtime finds no CUDA here (it has {available}); "
            "install onnxruntime-gpu in place of onnxruntime, or leave --device out"
        )
    return session
