"""What other conventions' environment variables hide of an agent's data. Pure, stdlib only.

OpenTelemetry: OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT. OpenInference:
https://arize-ai.github.io/openinference/spec/configuration/trace-config.html
"""

from collections.abc import Mapping
from enum import StrEnum

CAPTURE_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
PREFIX = "OPENINFERENCE_HIDE_"


class Hidden(StrEnum):
    """What of calls and tools is left out."""

    CONTENT = "content"
    """All texts and tokens, as the mode `metadata` does."""
    INPUTS = "inputs"
    OUTPUTS = "outputs"
    TOOLS = "tools"
    """What tools a model was offered: they are among its prompt's tokens."""


_NO_CONTENT = ("no_content", "false", "0", "no")
OPENINFERENCE: Mapping[str, Hidden] = {
    "INPUTS": Hidden.INPUTS,
    "INPUT_MESSAGES": Hidden.INPUTS,
    "INPUT_TEXT": Hidden.INPUTS,
    "INPUT_IMAGES": Hidden.INPUTS,
    "INPUT_AUDIO": Hidden.INPUTS,
    "PROMPTS": Hidden.INPUTS,
    "LLM_PROMPTS": Hidden.INPUTS,
    "OUTPUTS": Hidden.OUTPUTS,
    "OUTPUT_MESSAGES": Hidden.OUTPUTS,
    "OUTPUT_TEXT": Hidden.OUTPUTS,
    "OUTPUT_AUDIO": Hidden.OUTPUTS,
    "CHOICES": Hidden.OUTPUTS,
    "LLM_TOOLS": Hidden.TOOLS,
}
"""What we leave out for each: never less than it hides, for we know of images no more than that
they are in the input. HIDE_LLM_INVOCATION_PARAMETERS hides nothing here: temperature and the like
are numbers of the sampling; embeddings leave no span."""


def hidden_by(environment: Mapping[str, str]) -> frozenset[Hidden]:
    """What the variables that are set hide. One that is not set says nothing."""
    said = environment.get(CAPTURE_CONTENT, "").strip().lower()
    hidden = {Hidden.CONTENT} if said in _NO_CONTENT else set()
    for name, what in OPENINFERENCE.items():
        if environment.get(PREFIX + name, "").strip().lower() in ("true", "1", "yes"):
            hidden.add(what)
    return frozenset(hidden)


def to_header(hidden: frozenset[Hidden]) -> str:
    """As one text."""
    return ",".join(sorted(hidden))


def from_header(text: str) -> frozenset[Hidden]:
    """What a text names; a word that is none hides all, since it may be one of a later release."""
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    try:
        return frozenset(map(Hidden, words))
    except ValueError:
        return frozenset({Hidden.CONTENT})
