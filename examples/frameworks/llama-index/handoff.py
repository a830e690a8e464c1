"""Two agents of LlamaIndex in a workflow: triage hands over to a mathematician."""

import asyncio
import sys

from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.llms.openai import OpenAI


async def main(question: str) -> str:
    llm = OpenAI(model="gpt-4o-mini")
    triage = FunctionAgent(
        name="triage",
        description="Hands every sum over.",
        system_prompt="Hand every sum over to the mathematician.",
        tools=[],
        llm=llm,
        can_handoff_to=["mathematician"],
    )
    mathematician = FunctionAgent(
        name="mathematician",
        description="Answers sums.",
        system_prompt="Answer with a number.",
        tools=[],
        llm=llm,
    )
    team = AgentWorkflow(agents=[triage, mathematician], root_agent="triage")
    return str(await team.run(user_msg=question))


if __name__ == "__main__":
    print(asyncio.run(main(" ".join(sys.argv[1:]) or "What is 6 times 7?")))
