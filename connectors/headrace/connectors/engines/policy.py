"""The policies that are served and trained: `[policy]` and `[policies]`, of gateway and trainer."""

from dataclasses import dataclass

from headrace.connectors.engines.arithmetic import DtypeSetting
from headrace.connectors.settings import BadSettings, Fault, Names, check, key
from headrace.schemas import InvalidId, check_id

BUNDLED = "smollm2"
TOOL_FORMATS = ("hermes", "mistral", "pythonic", "llama3_json", "headrace")
"""Names of the formats in `headrace.connectors.gateway.tools.FORMATS`."""


@dataclass(kw_only=True, slots=True, frozen=True)
class PolicySettings:
    """The default policy: every call that is no other policy's is its."""

    name: str = "assistant"
    """Name by which agents ask for it (`model="assistant"`)."""
    model: str = BUNDLED
    """`smollm2` (bundled SmolLM2-135M-Instruct) or a directory with a transformers model."""
    dtype: DtypeSetting = key("auto", choices=("auto", "bfloat16", "float32"))
    """Arithmetic of engine and trainer: `bfloat16`, `float32`, or `auto`: bf16 where the processor
    does it fast (a CPU with avx512_bf16, amx_bf16 or Arm's bf16), else fp32. `headrace doctor`
    shows which and why. Published weights are bf16 in any case."""
    max_sequence: int = key(2048, least=2)
    """Tokens of a prompt and its completion at most, here and in `[policies]`; the trainer reads as
    many (`[trainer] token_budget`)."""

    tool_format: str = key("auto", choices=("auto", *TOOL_FORMATS))
    """How the model writes calls of tools; `auto`: as its chat template shows, and `headrace` where
    it knows no tools: a format of words for small models. Further policies are `auto`."""

    def __post_init__(self) -> None:
        check(self, "policy", ("name", _bad_name(self.name)), ("model", _bad_model(self.model)))


@dataclass(kw_only=True, slots=True, frozen=True)
class PoliciesSettings(Names):
    """Further policies by name, each with its model: as `[policy] model`."""

    def __post_init__(self) -> None:
        found = [(name, _bad_name(name) or _bad_model(self.entries[name])) for name in self.entries]
        if faults := [Fault("policies", name, why) for name, why in found if why]:
            raise BadSettings(faults)


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
