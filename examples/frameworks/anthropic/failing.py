"""The agent of agent.py with a tool that fails."""

import sys

from anthropic import Anthropic

TOOLS = [
    {
        "name": "multiply",
        "description": "Multiply two integers.",
        "input_schema": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    }
]


def multiply(a: int, b: int) -> int:
    raise ValueError("the calculator is broken")


def main(question: str) -> str:
    client = Anthropic()
    messages = [{"role": "user", "content": question}]
    for _ in range(5):
        message = client.messages.create(
            model="claude-sonnet-4-5", max_tokens=128, messages=messages, tools=TOOLS
        )
        if message.stop_reason != "tool_use":
            return "".join(block.text for block in message.content if block.type == "text")
        messages.append({"role": "assistant", "content": message.content})
        results = [
            {
                "type": "tool_result",
                "tool_use_id": block.id,
                "content": str(multiply(**block.input)),
            }
            for block in message.content
            if block.type == "tool_use"
        ]
        messages.append({"role": "user", "content": results})
    return "no answer"


if __name__ == "__main__":
    print(main(" ".join(sys.argv[1:]) or "What is 6 times 7?"))
