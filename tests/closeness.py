"""How far apart two ways to compute the same numbers end, in steps of their type's precision at their own
size.

Other instructions, another number of threads or another order of additions round otherwise in the last
digits. How much that comes to grows with the numbers and with how many of them are added up, so a limit is a
number of steps: ten times what was seen over the settings of benchmarks/isa.py. With PAQA_STEPS=FILE every
comparison adds a line to that file.
"""

import math
import os
from typing import Any

import numpy as np

LOG = "PAQA_STEPS"  # the variable that names a file of lines "test <tab> steps"


def steps(actual: Any, expected: Any, size: float | None = None) -> float:
    """The largest difference of two arrays or tensors of one shape, in steps.

    A step is the precision of the coarser type (2^-23 of float32) times `size`, by default the largest
    absolute value that was expected. NaN, and so below no limit, where one of the numbers is.
    """
    one, other = array(actual), array(expected)
    assert one.shape == other.shape, f"found the shape {one.shape}, expected {other.shape}"
    assert one.size, "there is nothing to compare"
    size = float(np.abs(other).max()) if size is None else size
    difference = float(np.abs(one.astype(np.float64) - other).max())
    step = size * max(np.finfo(x.dtype).eps for x in (one, other))
    found = difference / step if step else math.inf if difference else 0.0
    record(found)
    return found


def array(values: Any) -> np.ndarray:
    """As NumPy has it; of a tensor without its gradient."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def record(found: float) -> None:
    """Add what was seen to the file that PAQA_STEPS names."""
    if path := os.environ.get(LOG):
        with open(path, "a") as file:
            print(
                os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0],
                f"{found:.4g}",
                sep="\t",
                file=file,
            )
