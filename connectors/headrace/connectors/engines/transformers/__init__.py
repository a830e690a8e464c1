"""The built-in engine: a transformers model with dynamic batching. Importing it imports torch."""

from headrace.connectors.engines.transformers.engine import (
    TransformersEngine,
    TransformersEngineConfig,
)

__all__ = ["TransformersEngine", "TransformersEngineConfig"]
