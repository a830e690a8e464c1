"""Which cases are run, the most telling first."""

from collections.abc import Sequence
from dataclasses import dataclass

SHAPES = {
    "smollm2-135m": (576, 49152),
    "qwen2.5-0.5b": (896, 151936),
    "qwen3-1.7b": (2048, 151936),
    "qwen2.5-7b": (3584, 152064),
    "llama-3.1-8b": (4096, 128256),
}
"""Hidden size and vocabulary."""
FIRST = ("smollm2-135m", "qwen3-1.7b", "llama-3.1-8b")
"""Narrow, middle and wide: run before all else."""
TOKENS = (2048, 8192, 16384, 32768)
MAIN_TOKENS = 16384
MASKED = 0.9


@dataclass(kw_only=True, slots=True, frozen=True)
class Spec:
    """One case before it is made."""

    shape: str
    tokens: int
    loss: str = "dapo"
    masked: float = 0.0
    """Share of the rows outside the mask."""
    compacted: bool = False
    """Whether everybody is given the rows of the mask alone."""

    @property
    def label(self) -> str:
        """Its name in tables and results."""
        rows = f"{self.masked:.0%} masked" if self.masked else "dense"
        given = ", only the rows of the mask given" if self.compacted else ""
        return f"{self.shape} N={self.tokens} {self.loss} {rows}{given}"


def grid(shapes: Sequence[str], tokens: Sequence[int]) -> list[Spec]:
    """The cases of those shapes and token counts, in the order in which they are worth most."""
    dense = [Spec(shape=shape, tokens=count) for count in tokens for shape in shapes]
    of_main = [spec for spec in dense if spec.tokens == MAIN_TOKENS]
    first = [spec for spec in of_main if spec.shape in FIRST]
    return [
        *first,
        *_masked(first),
        *(spec for spec in of_main if spec not in first),
        *(_with_loss(spec, loss) for spec in first for loss in ("dapo-kl", "gspo")),
        *(spec for spec in dense if spec not in of_main),
        *_masked([spec for spec in of_main if spec not in first]),
    ]


def _masked(specs: Sequence[Spec]) -> list[Spec]:
    return [
        Spec(shape=spec.shape, tokens=spec.tokens, masked=MASKED, compacted=compacted)
        for spec in specs
        for compacted in (False, True)
    ]


def _with_loss(spec: Spec, loss: str) -> Spec:
    return Spec(shape=spec.shape, tokens=spec.tokens, loss=loss)
