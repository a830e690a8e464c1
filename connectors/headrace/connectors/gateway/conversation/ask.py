"""What a request asks for, whichever API it came by."""

from dataclasses import dataclass, field

from headrace.connectors.engines import Constraint, SamplingParameters
from headrace.connectors.gateway.conversation.messages import Message, Tool, ToolChoice


@dataclass(kw_only=True, slots=True, frozen=True)
class Ask:
    """A request, read and checked by its dialect.

    It says what to sample; how the answer looks on the wire (streamed or not, which fields) is the
    dialect's own matter.
    """

    model: str
    """As the client named it: `name` or `name@7`."""
    messages: tuple[Message, ...] = ()
    prompt: str | tuple[int, ...] | None = None
    """Text or token ids to go on from as they are, without a chat template; then there are no
    messages."""
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = field(default_factory=ToolChoice)
    sampling: SamplingParameters
    says_max_tokens: bool = True
    """Whether the request bounds its tokens; else `sampling.max_tokens` is the most it may get."""
    choices: int = 1
    """Completions to sample; each is a sample of its own."""
    logprobs: int | None = None
    """None: the client wants none; 0: of the sampled tokens; k: also of the k most probable."""
    constraint: Constraint | None = None
    """A form that the answer must have."""
    streams: bool = False
    """Whether the client reads the answer while it grows."""
    noted: tuple[str, ...] = ()
    """Fields of the request that this server does not know, named on the span."""
