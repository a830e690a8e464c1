"""Two agents on the `openai` SDK: a triage agent that hands over to a mathematician."""

import json
import sys

from openai import OpenAI

HANDOFF = {
    "type": "function",
    "function": {
        "name": "transfer_to_mathematician",
        "description": "Hand the question over to the mathematician.",
        "parameters": {"type": "object", "properties": {"question": {"type": "string"}}},
    },
}


def ask(client: OpenAI, agent: str, instructions: str, messages: list, tools: list):
    completion = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "system", "content": instructions}, *messages],
        tools=tools or None,
        extra_headers={"x-headrace-agent": agent},
    )
    return completion.choices[0].message


def main(question: str) -> str:
    client = OpenAI()
    messages = [{"role": "user", "content": question}]
    message = ask(client, "triage", "Hand every sum over.", messages, [HANDOFF])
    if message.tool_calls:
        (call,) = message.tool_calls
        handed = json.loads(call.function.arguments).get("question", question)
        messages = [{"role": "user", "content": handed}]
        message = ask(client, "mathematician", "Answer with a number.", messages, [])
    return message.content


if __name__ == "__main__":
    print(main(" ".join(sys.argv[1:]) or "What is 6 times 7?"))
