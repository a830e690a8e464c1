"""An agent that is written for Agent Lightning: its tracer, its messages and its rewards."""

import asyncio
import sys

import agentlightning as agl
from openai import OpenAI


def ask(question: str) -> str:
    answer = OpenAI().chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": question}]
    )
    return answer.choices[0].message.content or ""


async def main(question: str) -> str:
    tracer = agl.OtelTracer()
    tracer.init_worker(0)
    async with tracer.trace_context("rollout"):
        with agl.operation(tries=1):
            answer = ask(question)
        agl.emit_message("asked once")
        agl.emit_reward({"task": float("42" in answer), "brevity": 0.25}, primary_key="task")
    return answer


if __name__ == "__main__":
    print(asyncio.run(main(" ".join(sys.argv[1:]) or "What is 6 times 7?")))
