"""One way to open an ONNX model."""

from __future__ import annotations

from typing import Any


def open_session(path: str, device: str, threads: int) -> Any:
    """An `onnxruntime.InferenceSession` on `device` ("cpu" or "cuda") with `threads` threads, one node at a time."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
    available = onnxruntime.get_available_providers()
    providers = [p for p in wanted if p in available] + ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(path, sess_options=options, providers=providers)
