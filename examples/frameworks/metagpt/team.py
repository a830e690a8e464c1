"""Two roles of MetaGPT, in the manner of its multi-agent tutorial: one writes, one reviews.

MetaGPT reads the address of the model from a file, not the environment: it is taken over here.
"""

import asyncio
import os
import sys
from pathlib import Path

os.environ.setdefault("METAGPT_PROJECT_ROOT", str(Path(__file__).parent))  # has config/config2.yaml

from metagpt.actions import Action, UserRequirement
from metagpt.config2 import Config
from metagpt.roles import Role
from metagpt.team import Team


class Solve(Action):
    name: str = "Solve"

    async def run(self, context: list) -> str:
        return await self._aask(f"Solve this: {context[0].content}")


class Review(Action):
    name: str = "Review"

    async def run(self, context: list) -> str:
        return await self._aask(f"Is this right? Give the final answer. {context[-1].content}")


class Mathematician(Role):
    name: str = "mathematician"
    profile: str = "Mathematician"

    def __init__(self, **options):
        super().__init__(**options)
        self._watch([UserRequirement])
        self.set_actions([Solve])


class Reviewer(Role):
    name: str = "reviewer"
    profile: str = "Reviewer"

    def __init__(self, **options):
        super().__init__(**options)
        self._watch([Solve])
        self.set_actions([Review])


async def main(question: str) -> str:
    config = Config.default()
    if url := os.environ.get("OPENAI_BASE_URL"):
        config.llm.base_url = url
        config.llm.api_key = os.environ["OPENAI_API_KEY"]
    team = Team(use_mgx=False)
    team.hire([Mathematician(config=config), Reviewer(config=config)])
    team.invest(3.0)
    team.run_project(question)
    await team.run(n_round=3)
    return team.env.history.splitlines()[-1]


if __name__ == "__main__":
    print(asyncio.run(main(" ".join(sys.argv[1:]) or "What is 6 times 7?")))
