"""Which frameworks there are and what switches their spans on. Data, and standard library only."""

from typing import NamedTuple


class Framework(NamedTuple):
    """A library whose import switches spans on."""

    name: str
    module: str
    """Module whose import is waited for."""
    instrumentors: tuple[tuple[str, str], ...] = ()
    """`module:Class` and the package that has it; the first that is installed is used."""
    ready: str = ""
    """`function` of `switches` to call before that, with the module."""
    has: str = ""
    """A name that the module has, where others are called like it."""
    missed: bool = True
    """Whether to say so where spans are there only with a package that is not installed."""


_GENAI = "opentelemetry.instrumentation.genai"
_GENAI_PACKAGE = "opentelemetry-instrumentation-genai"
_INFERENCE = "openinference.instrumentation"
_INFERENCE_PACKAGE = "openinference-instrumentation"

FRAMEWORKS = (
    Framework(
        name="openai",
        module="openai",
        ready="name_parents",
        instrumentors=(
            (f"{_GENAI}.openai:OpenAIInstrumentor", f"{_GENAI_PACKAGE}-openai"),
            (f"{_INFERENCE}.openai:OpenAIInstrumentor", f"{_INFERENCE_PACKAGE}-openai"),
        ),
        missed=False,  # its calls are all it has, and those the gateway sees
    ),
    Framework(
        name="anthropic",
        module="anthropic",
        ready="name_parents",
        instrumentors=(
            (f"{_GENAI}.anthropic:AnthropicInstrumentor", f"{_GENAI_PACKAGE}-anthropic"),
            (f"{_INFERENCE}.anthropic:AnthropicInstrumentor", f"{_INFERENCE_PACKAGE}-anthropic"),
        ),
        missed=False,
    ),
    Framework(
        name="litellm",
        module="litellm",
        instrumentors=(
            (f"{_INFERENCE}.litellm:LiteLLMInstrumentor", f"{_INFERENCE_PACKAGE}-litellm"),
        ),
        missed=False,
    ),
    Framework(
        name="langchain",
        module="langchain_core",
        instrumentors=(
            (f"{_GENAI}.langchain:LangChainInstrumentor", f"{_GENAI_PACKAGE}-langchain"),
            (f"{_INFERENCE}.langchain:LangChainInstrumentor", f"{_INFERENCE_PACKAGE}-langchain"),
        ),
    ),
    Framework(
        name="openai-agents",
        module="agents",
        has="set_trace_processors",
        ready="keep_traces_here",
        instrumentors=(
            (
                f"{_GENAI}.openai_agents:OpenAIAgentsInstrumentor",
                f"{_GENAI_PACKAGE}-openai-agents",
            ),
            (
                f"{_INFERENCE}.openai_agents:OpenAIAgentsInstrumentor",
                f"{_INFERENCE_PACKAGE}-openai-agents",
            ),
        ),
    ),
    Framework(
        name="llama-index",
        module="llama_index.core",
        instrumentors=(
            (f"{_GENAI}.llama_index:LlamaIndexInstrumentor", f"{_GENAI_PACKAGE}-llama-index"),
            (
                f"{_INFERENCE}.llama_index:LlamaIndexInstrumentor",
                f"{_INFERENCE_PACKAGE}-llama-index",
            ),
        ),
    ),
    Framework(
        name="smolagents",
        module="smolagents",
        instrumentors=(
            (f"{_INFERENCE}.smolagents:SmolagentsInstrumentor", f"{_INFERENCE_PACKAGE}-smolagents"),
        ),
    ),
    Framework(
        name="crewai",
        module="crewai",
        ready="name_agents",
        instrumentors=(
            (f"{_INFERENCE}.crewai:CrewAIInstrumentor", f"{_INFERENCE_PACKAGE}-crewai"),
        ),
    ),
    Framework(
        name="dspy",
        module="dspy",
        ready="without_cache",
        instrumentors=((f"{_INFERENCE}.dspy:DSPyInstrumentor", f"{_INFERENCE_PACKAGE}-dspy"),),
    ),
    Framework(
        name="agno",
        module="agno",
        instrumentors=((f"{_INFERENCE}.agno:AgnoInstrumentor", f"{_INFERENCE_PACKAGE}-agno"),),
    ),
    Framework(
        name="claude-agent-sdk",
        module="claude_agent_sdk",
        instrumentors=(
            (
                f"{_INFERENCE}.claude_agent_sdk:ClaudeAgentSDKInstrumentor",
                f"{_INFERENCE_PACKAGE}-claude-agent-sdk",
            ),
        ),
    ),
    # They make spans of their own as soon as there is somebody to take them.
    Framework(
        name="autogen",
        module="autogen_agentchat",
        ready="tell_tools",
        missed=False,
    ),
    Framework(name="autogen-core", module="autogen_core", missed=False),
    Framework(name="semantic-kernel", module="semantic_kernel", missed=False),
    Framework(name="agent-framework", module="agent_framework", missed=False),
    Framework(
        name="pydantic-ai", module="pydantic_ai", ready="instrument_pydantic_ai", missed=False
    ),
    Framework(name="google-adk", module="google.adk", missed=False),
    # It makes none, and ours are used instead.
    Framework(name="metagpt", module="metagpt.roles.role", ready="name_roles", missed=False),
    # An agent's own spans.
    Framework(name="opentelemetry", module="opentelemetry.trace", missed=False),
)

SWITCHES = {
    "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
    "SEMANTICKERNEL_EXPERIMENTAL_GENAI_ENABLE_OTEL_DIAGNOSTICS": "true",
    "SEMANTICKERNEL_EXPERIMENTAL_GENAI_ENABLE_OTEL_DIAGNOSTICS_SENSITIVE": "true",
    # agent-framework
    "ENABLE_INSTRUMENTATION": "true",
    "ENABLE_SENSITIVE_DATA": "true",
    # no telemetry to vendors, no table of prices from the network
    "CREWAI_DISABLE_TELEMETRY": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}
"""Environment that frameworks need for whole spans; what the user has set is left as it is."""
