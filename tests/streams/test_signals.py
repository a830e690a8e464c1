"""Signals: one function each, told from a take, documented."""

import re
from pathlib import Path

import numpy as np

from headrace.schemas import EpisodeCall, EpisodeReward
from headrace.streams.assemble.columns import spans_of
from headrace.streams.signals import SIGNALS, Seen, Take, each, read_signals

PAGE = Path(__file__).parents[2] / "docs" / "rewards.md"


def seen(**facts: object) -> Seen:
    given: dict[str, object] = {"calls": [], "tools": [], "rewards": []} | facts
    return Seen(rollout_id="r", attempt="a", has_start=True, **given)  # type: ignore[arg-type]  # by name


def take(*episodes: Seen) -> Take:
    return Take(spans=spans_of([]), slot=np.zeros(0, int), episodes=episodes)


def test_what_is_zero_is_left_out_and_every_episode_has_its_own_counts() -> None:
    cut = EpisodeCall(finish_reason="length", output="x", completion_tokens=1)
    lost = EpisodeReward(value=float("nan"), target="nobody")
    assert read_signals(take(seen(), seen(calls=[cut, cut]), seen(rewards=[lost]))) == [
        {},
        {"truncations": 2},
        {"invalid_rewards": 1, "unmatched_rewards": 1},
    ]


def test_a_reward_may_belong_to_the_episode_a_call_or_a_response() -> None:
    call = EpisodeCall(span_id="1", response_id="chatcmpl-1", output="x", completion_tokens=1)
    targets = ["", "r/a", "1", "r/a/1", "chatcmpl-1"]
    rewards = [EpisodeReward(value=1.0, target=target) for target in targets]
    assert read_signals(take(seen(calls=[call], rewards=rewards))) == [{}]


def test_a_function_of_one_episode_is_a_signal() -> None:
    assert each(lambda episode: len(episode.calls))(take(seen(), seen(calls=[EpisodeCall()]))) == [
        0,
        1,
    ]


def test_every_signal_is_documented() -> None:
    section = PAGE.read_text(encoding="utf-8").split("## Signals")[1].split("\n### ")[0]
    assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == [*SIGNALS, "texts_dropped"]
