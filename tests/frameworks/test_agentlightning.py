"""An agent of Agent Lightning's, as it is: what it emits is part of the episode."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.frameworks.scripted import ANSWER, QUESTION
from tests.frameworks.test_frameworks import above, check_calls, needs

if TYPE_CHECKING:
    from tests.frameworks.conftest import Lab


@needs("agentlightning")
def test_its_operations_messages_and_rewards_are_spans_of_the_episode(lab: Lab) -> None:
    episode = lab.run("agentlightning", "agent.py", QUESTION)
    assert episode.exit_code == 0, episode.output
    assert json.loads(episode.row["result"]) == ANSWER
    check_calls(episode)
    assert [above(episode, call) for call in episode.calls] == [["agentlightning.operation"]]
    rewards = {span["reward_name"]: span["reward_value"] for span in episode.of("reward")}
    assert rewards == {"task": 1.0, "brevity": 0.25}
    assert [span["name"] for span in episode.of("event")] == ["agentlightning.message"]
