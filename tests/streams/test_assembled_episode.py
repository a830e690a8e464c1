"""What an assembled episode says of its attempt, in its records and its rows."""

from typing import Any

import numpy as np
import pytest

from headrace.schemas import response_id
from tests.streams.assembling import call, end, one_episode, plain, reward, span_id, start


def test_an_episode_carries_its_facts_calls_tools_and_rewards() -> None:
    world, episode = one_episode(
        start(1, group_id="g", group_size=8, policy="calc", split="eval", expected="2"),
        call(3),
        call(2),
        plain(4, "tool", status="error", input="1 + 1", output="2"),
        reward(5, 0.5, target=response_id(span_id(2))),
        plain(6, "exception"),
        end(),
    )
    assert (episode.group_id, episode.group_size, episode.policy) == ("g", 8, "calc")
    assert (episode.split, episode.expected, episode.result) == ("eval", "2", "2")
    assert (episode.n_spans, episode.version, episode.closed_by) == (7, 15, "end")
    assert (episode.status, episode.complete, episode.task_input) == ("ok", True, "What is 1 + 1?")
    assert [c.span_id for c in episode.calls] == [span_id(2), span_id(3)], "in order of start"
    assert (episode.calls[0].version_min, episode.calls[0].completion_tokens) == (7, 3)
    assert [(t.input, t.output, t.status) for t in episode.tools] == [("1 + 1", "2", "error")]
    assert [(r.name, r.value) for r in episode.rewards] == [("right", 0.5)]
    assert episode.signals == {"tool_errors": 1, "exceptions": 1}
    (row,) = world.episodes.values()
    assert (row["state"], row["calls"], row["prompt_tokens"]) == ("closed", 2, 8)
    assert (row["version_min"], row["version_max"], row["completion_tokens"]) == (7, 7, 6)
    assert row["digest"] == episode.digest


def test_samples_hold_the_models_own_tokens() -> None:
    world, _ = one_episode(start(group_id="g"), call(2, logprobs=np.array([-1, -2, -3])), end())
    (sample,) = world.samples().values()
    assert sample.sample_id == f"r/a/{span_id(2)}/0"
    assert np.frombuffer(sample.sampled_ids, "<u4").tolist() == [0, 1, 2]
    assert np.frombuffer(sample.prompt_ids, "<u4").tolist() == [0, 1, 2, 3]
    assert np.frombuffer(sample.logprobs, "<f4").tolist() == [-1, -2, -3]
    assert (sample.run_versions, sample.run_lengths, sample.group_id) == ([7], [3], "g")


def test_an_attempt_without_a_start_is_a_group_of_one() -> None:
    _, episode = one_episode(call(2), end())
    assert (episode.group_id, episode.group_size, episode.policy) == ("r", 1, "p")
    assert episode.signals == {"no_start": 1}


def test_a_reward_that_is_not_a_number_is_kept_and_counted() -> None:
    _, episode = one_episode(start(), reward(2, float("nan")), reward(3, float("inf")), end())
    assert episode.signals == {"invalid_rewards": 2}
    assert np.isnan(episode.rewards[0].value)


def test_a_reward_for_a_call_that_is_not_there_is_counted() -> None:
    _, episode = one_episode(start(), reward(2, target="chatcmpl-nobody"), end())
    assert episode.signals == {"unmatched_rewards": 1}


def test_an_empty_completion_is_counted_and_never_trained() -> None:
    world, episode = one_episode(start(), call(2, tokens=0, output=""), end())
    assert episode.signals == {"empty_completions": 1}
    assert episode.calls[0].untrainable_reason == "no_tokens"
    assert world.samples() == {}


def test_a_call_cut_at_its_token_limit_is_counted() -> None:
    _, episode = one_episode(start(), call(2, finish_reason="length"), end())
    assert episode.signals == {"truncations": 1}


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"trainable": False, "untrainable_reason": "off_support"}, "off_support"),
        ({"logprobs": np.array([-1, np.nan, -1])}, "invalid_logprobs"),
        ({"runs": ((7, 2),)}, "invalid_versions"),
        ({"prompt_base": "r/a/ffffffffffffffff", "prompt_base_length": 4}, "missing_base"),
    ],
)
def test_a_call_that_cannot_be_trained_says_why(facts: dict[str, Any], reason: str) -> None:
    world, episode = one_episode(start(), call(2, **facts), end())
    assert (episode.calls[0].trainable, episode.calls[0].untrainable_reason) == (False, reason)
    assert world.samples() == {}


def test_a_prompt_may_extend_a_call_that_is_a_sample_itself() -> None:
    base: dict[str, Any] = {"prompt_base": f"r/a/{span_id(2)}", "prompt_base_length": 4}
    world, episode = one_episode(start(), call(2), call(3, **base), end())
    assert [c.trainable for c in episode.calls] == [True, True]
    assert episode.calls[1].prompt_tokens == 8
    assert len(world.samples()) == 2


def test_texts_that_no_record_could_hold_are_left_in_the_table() -> None:
    world, episode = one_episode(
        start(), call(2, output="x" * 5_000), end(), config={"message_bytes": 4_000}
    )
    assert episode.calls[0].output == ""
    assert episode.signals == {"texts_dropped": 1}
    assert any(row["output"] == "x" * 5_000 for row in world.spans.values())
