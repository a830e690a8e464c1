"""The policy that is served and trained: `[policy]`, which gateway and trainer share."""

from dataclasses import dataclass

from headrace.connectors.engines.arithmetic import DtypeSetting
from headrace.connectors.settings import check, key
from headrace.schemas import InvalidId, check_id

BUNDLED = "smollm2"


@dataclass(kw_only=True, slots=True, frozen=True)
class PolicySettings:
    """The policy that is served and trained."""

    name: str = "assistant"
    """Name by which agents ask for it (`model="assistant"`)."""
    model: str = BUNDLED
    """`smollm2` (bundled SmolLM2-135M-Instruct) or a directory with a transformers model."""
    dtype: DtypeSetting = key("auto", choices=("auto", "bfloat16", "float32"))
    """Arithmetic of engine and trainer: `bfloat16`, `float32`, or `auto`: bf16 where the processor
    does it fast (a CPU with avx512_bf16, amx_bf16 or Arm's bf16), else fp32. `headrace doctor`
    shows which and why. Published weights are bf16 in any case."""

    def __post_init__(self) -> None:
        check(self, "policy", ("name", _bad_name(self.name)), ("model", _bad_model(self.model)))


def _bad_name(name: str) -> str:
    try:
        check_id(name, "it")
    except InvalidId:
        return (
            f"is {name!r}: give 1 to 128 letters, digits, dots, underscores, colons or hyphens "
            "(an @ names a version)"
        )
    return ""


def _bad_model(model: str) -> str:
    return "" if model.strip() else f"is empty: give {BUNDLED!r} or a directory with a model"
