"""Requests that fuzzing starts from: any JSON, and valid bodies with something changed."""

import copy
from typing import Any

from hypothesis import strategies as st

FUNCTION = {"name": "add", "description": "Adds.", "parameters": {"type": "object"}}

COMPLETIONS: dict[str, Any] = {
    "model": "calc",
    "prompt": ["1+", [49, 43]],
    "n": 2,
    "best_of": 2,
    "logprobs": 1,
    "max_tokens": 5,
    "stop": ["END"],
    "stream": False,
    "stream_options": {"include_usage": True},
    "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "integer"}}},
    "temperature": 0.5,
    "top_p": 1,
    "top_k": 3,
    "min_p": 0.1,
    "seed": 3,
    "echo": False,
    "frequency_penalty": 0.5,
    "presence_penalty": -0.5,
    "logit_bias": {"5": 1.5},
    "user": "u",
}
MESSAGES: dict[str, Any] = {
    "model": "calc",
    "max_tokens": 5,
    "system": [{"type": "text", "text": "Be brief."}],
    "messages": [
        {"role": "user", "content": "1+2"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I add."},
                {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "content": [{"type": "text", "text": "3"}],
                },
            ],
        },
    ],
    "tools": [{"name": "add", "input_schema": {"type": "object"}, "strict": False}],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": False},
    "thinking": {"type": "disabled"},
    "output_config": {"format": {"type": "json_schema", "schema": {}}},
    "stop_sequences": ["END"],
    "metadata": {"user_id": "u"},
    "temperature": 0.5,
    "top_p": 1,
    "top_k": 3,
    "stream": False,
}
RESPONSES: dict[str, Any] = {
    "model": "calc",
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "1+2"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "3"},
        {"type": "message", "role": "assistant", "content": "3"},
    ],
    "tools": [{"type": "function", **FUNCTION, "strict": True}],
    "tool_choice": {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "add"}],
    },
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "medium"},
    "reasoning": {"effort": None},
    "include": ["message.output_text.logprobs"],
    "metadata": {"k": "v"},
    "max_output_tokens": 5,
    "parallel_tool_calls": True,
    "store": False,
    "stream": False,
    "top_logprobs": 1,
    "truncation": "auto",
    "temperature": 0.5,
    "top_p": 1,
    "top_k": 3,
    "seed": 3,
    "user": "u",
}
EMBEDDINGS: dict[str, Any] = {
    "model": "all-minilm-l6-v2",
    "input": ["a", "b"],
    "encoding_format": "base64",
    "dimensions": 384,
}
CHAT: dict[str, Any] = {
    "model": "calc",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "1+2"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
    ],
    "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": {"type": "function", "function": {"name": "add"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    "logprobs": True,
    "top_logprobs": 1,
    "max_completion_tokens": 5,
    "n": 1,
    "stop": ["END"],
    "stream": False,
    "stream_options": {"include_usage": True},
    "temperature": 0.5,
    "top_p": 1,
    "top_k": 3,
    "min_p": 0.1,
    "seed": 3,
    "frequency_penalty": 0.5,
    "presence_penalty": -0.5,
    "logit_bias": {"5": 1.5},
    "parallel_tool_calls": False,
    "return_token_ids": True,
    "metadata": {"k": "v"},
    "user": "u",
}
FEEDBACK: dict[str, Any] = {
    "episode": "r/a",
    "name": "thumbs",
    "value": -1,
    "source": "user",
    "target": "episode",
    "id": "f-1",
}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -1, 2**31, 1e999, "", "auto", "text", "message", "function"])
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "role", "content", "name", "id", "input"])
            | st.text(max_size=4),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@st.composite
def mutated(draw: st.DrawFn, valid: dict[str, Any]) -> dict[str, Any]:
    """A valid body in which up to three values were replaced, removed or doubled."""
    body = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        _mutate(draw, body)
    return body


def _mutate(draw: st.DrawFn, body: dict[str, Any]) -> None:
    where: Any = body
    while where:
        keys = list(where) if isinstance(where, dict) else list(range(len(where)))
        at = draw(st.sampled_from(keys))
        inner = where[at]
        if isinstance(inner, dict | list) and inner and draw(st.booleans()):
            where = inner
            continue
        what = draw(st.sampled_from(["replace", "remove", "double"]))
        if what == "remove":
            del where[at]
        elif what == "double" and isinstance(where, list):
            where.append(copy.deepcopy(inner))
        else:
            where[at] = draw(json_values)
        return
