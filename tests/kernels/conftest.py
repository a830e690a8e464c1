"""The Triton kernels run in Triton's interpreter, on the CPU: every machine tests them alike.
It must be chosen before Triton is imported: tests/conftest.py does.

`HEADRACE_KERNELS_ON_GPU=1 pytest tests/kernels/test_on_gpu.py` runs them on the device instead.
"""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from importlib.util import find_spec

import pytest
from benchmarks.kernels.rounding import bf16_is_rounded


@pytest.fixture(autouse=True)
def _as_devices_round() -> Iterator[None]:
    """The interpreter rounds to bf16 as devices do."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1" and find_spec("triton") is not None
    with bf16_is_rounded() if interpreted else nullcontext():
        yield
