"""The repository's own sources, as a machine without the package finds them."""

import os
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PORTIONS = ("schemas", "kernels", "connectors", "trainer")


def environment(rehearse: bool, surroundings: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The surroundings in which a part runs; in a rehearsal Triton is interpreted."""
    own = [str(ROOT), *(str(ROOT / portion) for portion in PORTIONS)]
    path = os.pathsep.join([*own, surroundings.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    out = {**surroundings, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    if rehearse:
        return {**out, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    return {
        **out,
        "HEADRACE_KERNELS_ON_GPU": "1",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
    }
