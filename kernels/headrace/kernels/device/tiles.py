"""Tile of the LM head's matrix product by type and depth. Untimed: chosen from compiled artefacts
(registers, no spills, shared memory) and the arithmetic of the epilogue."""

from dataclasses import dataclass

import torch

from headrace.kernels.implementation import interpreted


@dataclass(kw_only=True, slots=True, frozen=True)
class Tile:
    """Shape of a program's tile and how it is compiled."""

    rows: int
    columns: int
    depth: int
    split: int
    """Parts that the epilogue handles one after the other."""
    warps: int
    stages: int


WIDE = Tile(rows=128, columns=256, depth=64, split=2, warps=8, stages=3)
"""One program a multiprocessor; for depths where the matrix product hides the epilogue."""
NARROW = Tile(rows=128, columns=128, depth=64, split=1, warps=4, stages=3)
"""Two programs a multiprocessor: one's epilogue runs beside the other's matrix product."""
SMALL = Tile(rows=32, columns=64, depth=32, split=2, warps=1, stages=1)
"""For the interpreter: several tiles each way even in small tests."""


def tile_for(dtype: torch.dtype, depth: int, device: torch.device) -> Tile | None:
    """The tile for inputs of this type and hidden size; None where the library's product is used.

    Only Hopper has the bulk copies that this kernel is built on: elsewhere it compiles to loads
    that are not overlapped with the product. fp32 has no matrix instructions: it spills.
    """
    if interpreted():
        return SMALL
    if dtype == torch.float32 or torch.cuda.get_device_capability(device)[0] != 9:
        return None
    return hopper_tile(depth)


def hopper_tile(depth: int) -> Tile:
    """Below 1536 the epilogue takes too large a share to stand alone."""
    return NARROW if depth < 1536 else WIDE
