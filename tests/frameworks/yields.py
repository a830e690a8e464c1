"""What the agent of each framework is to leave in its episode: the table of docs/agents.md."""

from dataclasses import dataclass

BROKEN = "the calculator is broken"


@dataclass(kw_only=True, frozen=True)
class Yields:
    """What a framework tells of its own; what the gateway tells holds for all."""

    packages: tuple[str, ...]
    """Whose versions were tested."""
    api: str
    """Of its model calls: `chat`, `responses` or `messages`."""
    above: tuple[str, ...] = ()
    """Names of the spans above the first call, the outermost first; `*` is any text."""
    tools: tuple[str, ...] = ("multiply",)
    """Names of its spans of tools; empty: they run in the agent's own code."""
    tool_above: tuple[str, ...] | None = None
    """As `above`, of the first tool; None: the same."""
    agent: str = "mathematician"
    """Of its calls; without agents of its own it is the program's name."""
    prompts: tuple[str, ...] = ("new", "extended")
    """How the prompt of each call is made of those before."""
    untrainable: str = ""
    """Why its calls are not trained; empty: they are."""
    raises: bool = False
    """Whether the exception of a tool ends the run."""
    error: str = BROKEN
    """What its span of a tool that failed says."""
    handoff: tuple[str, ...] = ()
    """Agents of the calls of handoff.py; empty: it knows no other agents."""


_BOTH = ("triage", "mathematician")
_AND_BACK = ("triage", "mathematician", "triage")

FRAMEWORKS = {
    "openai": Yields(
        packages=("openai",), api="chat", tools=(), agent="agent", raises=True, handoff=_BOTH
    ),
    "langchain": Yields(
        packages=("langchain", "langgraph"),
        api="chat",
        above=("invoke_agent mathematician",),
        raises=True,
        handoff=_BOTH,
    ),
    "openai-agents": Yields(
        packages=("openai-agents",),
        api="responses",
        above=("invoke_workflow *", "invoke_agent mathematician"),
        # The model is not told either, unless the tool has a failure_error_function.
        error="Error details are redacted",
        handoff=_BOTH,
    ),
    "autogen": Yields(
        packages=("autogen-agentchat",),
        api="chat",
        above=("invoke_agent mathematician",),
        # It reflects on the tool's result without being told of tools again: another prompt.
        prompts=("new", "rewritten"),
        handoff=_BOTH,
    ),
    "semantic-kernel": Yields(
        packages=("semantic-kernel",),
        api="chat",
        above=("invoke_agent mathematician", "AutoFunctionInvocationLoop"),
        tools=("Calculator-multiply",),
        handoff=_AND_BACK,
    ),
    "agent-framework": Yields(
        packages=("agent-framework-core",),
        api="responses",
        above=("invoke_agent mathematician",),
        handoff=_AND_BACK,
    ),
    "crewai": Yields(
        packages=("crewai",),
        api="chat",
        above=("Crew_*.kickoff", "mathematician._execute_core", "invoke_agent mathematician"),
        handoff=_AND_BACK,
    ),
    "pydantic-ai": Yields(
        packages=("pydantic-ai-slim",),
        api="responses",
        above=("invoke_agent mathematician",),
        raises=True,
        handoff=_AND_BACK,
    ),
    "smolagents": Yields(
        packages=("smolagents",),
        api="chat",
        above=("mathematician.run", "Step 1", "OpenAIModel.generate"),
        tools=("multiply", "final_answer"),
        tool_above=("mathematician.run", "Step 1"),
        # It writes results into the conversation in words of its own.
        prompts=("new", "new"),
        # It requires a tool of every call, and the mask bends the distribution.
        untrainable="off_support",
        handoff=_AND_BACK,
    ),
    "llama-index": Yields(
        packages=("llama-index-core",),
        api="chat",
        above=("invoke_agent mathematician",),
        handoff=_BOTH,
    ),
    "dspy": Yields(
        packages=("dspy",),
        api="chat",
        above=("ReAct.forward", *("*",) * 3, "LM.__call__"),
        tools=("multiply", "finish"),
        tool_above=("ReAct.forward",),
        agent="agent",
        # Each step is a prompt of its own; the last call states the answer.
        prompts=("new",) * 3,
    ),
    "anthropic": Yields(
        packages=("anthropic",), api="messages", tools=(), agent="agent", raises=True
    ),
    "litellm": Yields(packages=("litellm",), api="chat", tools=(), agent="agent", raises=True),
}
