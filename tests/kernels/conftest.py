"""The Triton kernels run in Triton's interpreter, on the CPU: every machine tests them alike.
It must be chosen before Triton is imported: tests/conftest.py does.

`HEADRACE_KERNELS_ON_GPU=1 pytest tests/kernels/test_on_gpu.py` runs them on the device instead.
"""

import os
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _bf16_is_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter cuts fp32 off to bf16: here it rounds to the nearest even, as devices do."""
    if os.environ.get("TRITON_INTERPRET") != "1" or find_spec("triton") is None:
        return
    import triton.language as tl
    from triton.runtime import interpreter

    convert = interpreter._convert_float

    def rounded(values: Any, source: Any, target: Any, rounding_mode: Any) -> Any:
        if source == tl.float32 and target == tl.bfloat16:
            bits = values.view(np.uint32).astype(np.uint64)
            lifted = (bits + 0x7FFF + ((bits >> 16) & 1)).astype(np.uint32)
            values = np.where(np.isnan(values), values.view(np.uint32), lifted).view(np.float32)
        return convert(values, source, target, rounding_mode)

    monkeypatch.setattr(interpreter, "_convert_float", rounded)
