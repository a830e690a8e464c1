"""Inference engines behind the gateway: the contract, and one module for each engine.

`headrace.connectors.engines.transformers.engine` is the built-in one; it alone imports torch.
"""

from headrace.connectors.engines.base import (
    Constraint,
    Engine,
    EngineStats,
    Generation,
    GenerationRequest,
    Increment,
    Messages,
    OnIncrement,
    SamplingParameters,
    Tools,
    TopLogprobs,
)
from headrace.connectors.engines.errors import (
    EngineClosed,
    EngineError,
    EngineUnavailable,
    GenerationFailed,
    InvalidRequest,
    InvalidWeights,
    PromptTooLong,
    UnknownVersion,
)

__all__ = [
    "Constraint",
    "Engine",
    "EngineClosed",
    "EngineError",
    "EngineStats",
    "EngineUnavailable",
    "Generation",
    "GenerationFailed",
    "GenerationRequest",
    "Increment",
    "InvalidRequest",
    "InvalidWeights",
    "Messages",
    "OnIncrement",
    "PromptTooLong",
    "SamplingParameters",
    "Tools",
    "TopLogprobs",
    "UnknownVersion",
]
