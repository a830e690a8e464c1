"""The agent of agent.py with a tool that fails."""

import json
import sys

from openai import OpenAI

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "multiply",
            "description": "Multiply two integers.",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a", "b"],
            },
        },
    }
]


def multiply(a: int, b: int) -> int:
    raise ValueError("the calculator is broken")


def main(question: str) -> str:
    client = OpenAI()
    messages = [{"role": "user", "content": question}]
    for _ in range(5):
        completion = client.chat.completions.create(
            model="gpt-4o-mini", messages=messages, tools=TOOLS
        )
        message = completion.choices[0].message
        if not message.tool_calls:
            return message.content
        messages.append(message)
        for call in message.tool_calls:
            arguments = json.loads(call.function.arguments)
            result = multiply(**arguments)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": str(result)})
    return "no answer"


if __name__ == "__main__":
    print(main(" ".join(sys.argv[1:]) or "What is 6 times 7?"))
