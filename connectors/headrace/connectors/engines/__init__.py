"""Inference engines behind the gateway: the contract, and one module for each engine.

`headrace.connectors.engines.transformers.engine` is the built-in one; it alone imports torch.
"""

from headrace.connectors.engines.base import (
    Engine,
    EngineStats,
    Generation,
    GenerationRequest,
    SamplingParameters,
)
from headrace.connectors.engines.errors import (
    EngineClosed,
    EngineError,
    GenerationFailed,
    InvalidRequest,
    InvalidWeights,
    PromptTooLong,
    UnknownVersion,
)

__all__ = [
    "Engine",
    "EngineClosed",
    "EngineError",
    "EngineStats",
    "Generation",
    "GenerationFailed",
    "GenerationRequest",
    "InvalidRequest",
    "InvalidWeights",
    "PromptTooLong",
    "SamplingParameters",
    "UnknownVersion",
]
