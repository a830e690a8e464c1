"""Triton's interpreter made to round as devices do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np


@contextmanager
def bf16_is_rounded() -> Iterator[None]:
    """The interpreter cuts fp32 off to bf16: within, it rounds to the nearest even."""
    import triton.language as tl
    from triton.runtime import interpreter

    convert = interpreter._convert_float

    def rounded(values: Any, source: Any, target: Any, rounding_mode: Any) -> Any:
        if source == tl.float32 and target == tl.bfloat16:
            bits = values.view(np.uint32).astype(np.uint64)
            lifted = (bits + 0x7FFF + ((bits >> 16) & 1)).astype(np.uint32)
            values = np.where(np.isnan(values), values.view(np.uint32), lifted).view(np.float32)
        return convert(values, source, target, rounding_mode)

    with patch.object(interpreter, "_convert_float", rounded):
        yield
