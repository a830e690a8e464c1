"""What an engine raises.

EngineError
  InvalidRequest (also ValueError)    the request cannot be served as it is
    PromptTooLong                     prompt and max_tokens exceed the engine's sequence length
  UnknownVersion (also LookupError)   no such policy version was ever loaded here
  InvalidWeights (also ValueError)    a version's weights cannot be read or do not fit the model
  GenerationFailed (RuntimeError)     the model failed while it worked on the request
  EngineUnavailable (RuntimeError)    the engine's server does not answer, or not as it must
  EngineClosed (also RuntimeError)    the engine was closed
"""


class EngineError(Exception):
    """Root of what an engine raises."""


class InvalidRequest(EngineError, ValueError):
    """The request cannot be served as it is; asking again without a change fails again."""


class PromptTooLong(InvalidRequest):
    """The prompt leaves no room for max_tokens within the engine's sequence length."""


class UnknownVersion(EngineError, LookupError):
    """The policy version was never loaded into this engine."""


class InvalidWeights(EngineError, ValueError):
    """A version's weights cannot be read or do not fit the model; the engine is unchanged."""


class GenerationFailed(EngineError, RuntimeError):
    """The model failed while it worked on the request; the cause is chained."""


class EngineUnavailable(EngineError, RuntimeError):
    """The server that the engine asks does not answer, or was not started as it must be."""


class EngineClosed(EngineError, RuntimeError):
    """The engine was closed before or while it served the request."""
