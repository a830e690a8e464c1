"""MetaGPT, which has neither spans nor tools of the model: its roles are agents all the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.frameworks.scripted import ANSWER, QUESTION
from tests.frameworks.test_frameworks import above, check_calls, needs

if TYPE_CHECKING:
    from tests.frameworks.conftest import Lab


@needs("metagpt")
def test_each_role_of_a_team_is_an_agent_of_the_episode(lab: Lab) -> None:
    episode = lab.run("metagpt", "team.py", QUESTION)
    assert episode.exit_code == 0, episode.output
    assert json.loads(episode.row["result"]) == f"Reviewer: {ANSWER}"
    check_calls(episode)
    assert [call["agent"] for call in episode.calls] == ["mathematician", "reviewer"]
    assert [above(episode, call) for call in episode.calls] == [
        ["invoke_agent mathematician"],
        ["invoke_agent reviewer"],
    ]
