"""Two agents of AutoGen AgentChat in a swarm: triage hands over to a mathematician."""

import asyncio
import sys

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination, TextMentionTermination
from autogen_agentchat.teams import Swarm
from autogen_ext.models.openai import OpenAIChatCompletionClient


async def main(question: str) -> str:
    model_client = OpenAIChatCompletionClient(model="gpt-4o-mini")
    triage = AssistantAgent(
        name="triage",
        model_client=model_client,
        handoffs=["mathematician"],
        system_message="Hand every sum over to the mathematician.",
    )
    mathematician = AssistantAgent(
        name="mathematician",
        model_client=model_client,
        system_message="Answer with a number, then say TERMINATE.",
    )
    ending = TextMentionTermination("TERMINATE") | MaxMessageTermination(8)
    team = Swarm([triage, mathematician], termination_condition=ending)
    result = await team.run(task=question)
    await model_client.close()
    return result.messages[-1].content


if __name__ == "__main__":
    print(asyncio.run(main(" ".join(sys.argv[1:]) or "What is 6 times 7?")))
