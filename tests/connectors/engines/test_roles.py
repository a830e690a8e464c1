"""`[agents]`: which policy answers an agent, and which trainer trains its calls."""

import json

import pytest

from headrace.connectors.engines.roles import (
    AgentsSettings,
    How,
    Role,
    Roles,
    roles_from_environment,
    roles_of,
)
from headrace.connectors.settings import BadSettings

POLICIES = ("main", "writer-policy", "judge")


def roles(**agents: str) -> Roles:
    given = {{"others": "*"}.get(name, name): text for name, text in agents.items()}
    made, faults = roles_of(POLICIES, AgentsSettings(entries=given))
    assert faults == []
    return made


def test_an_agent_is_trained_frozen_or_served_untrained() -> None:
    told = roles(writer="writer-policy", checker="frozen", guard="untrained(judge)")
    assert told.named("writer") == Role(policy="writer-policy")
    assert told.named("checker") == Role(policy="main", how=How.FROZEN)
    assert told.named("guard") == Role(policy="judge", how=How.UNTRAINED)
    assert told.named("planner") is None
    assert told.others == Role(policy="main")


@pytest.mark.parametrize(
    ("agents", "trained", "followed", "frozen"),
    [
        ({}, POLICIES, POLICIES, ()),
        ({"checker": "frozen"}, POLICIES, POLICIES, ("main",)),
        ({"guard": "untrained(judge)"}, ("main", "writer-policy"), POLICIES, ()),
        ({"guard": "frozen(judge)"}, POLICIES[:2], POLICIES[:2], ("judge",)),
        ({"writer": "writer-policy", "others": "frozen"}, POLICIES[1:], POLICIES[1:], ("main",)),
    ],
)  # fmt: skip
def test_what_is_trained_served_and_frozen_follows_from_the_roles(
    agents: dict[str, str],
    trained: tuple[str, ...],
    followed: tuple[str, ...],
    frozen: tuple[str, ...],
) -> None:
    told = roles(**agents)
    assert (told.trained, told.followed, told.frozen) == (trained, followed, frozen)


@pytest.mark.parametrize(
    ("agents", "agent", "answered_by", "why"),
    [
        ({}, "anybody", "main", ""),
        ({}, "anybody", "judge", ""),
        ({}, "anybody", "gpt-5", "not_selected"),
        ({"writer": "writer-policy"}, "writer", "writer-policy", ""),
        ({"writer": "writer-policy"}, "writer", "main", "other_policy"),
        ({"writer": "writer-policy"}, "planner", "main", ""),
        ({"checker": "frozen"}, "checker", "main", "not_selected"),
        ({"writer": "main", "others": "untrained"}, "planner", "main", "not_selected"),
        ({"writer": "main", "others": "untrained"}, "writer", "main", ""),
    ],
)
def test_a_call_is_trained_by_its_agents_policy_alone(
    agents: dict[str, str], agent: str, answered_by: str, why: str
) -> None:
    assert roles(**agents).why_not(agent, answered_by, asked_for="main") == why


def test_without_settings_whatever_the_attempt_trains_is_selected() -> None:
    assert Roles().why_not("a", "p", "p") == ""
    assert Roles().why_not("a", "p", "") == ""
    assert Roles().why_not("a", "q", "p") == "not_selected"


def test_roles_have_one_name_whatever_their_order() -> None:
    assert str(roles(b="judge", a="frozen")) == str(roles(a="frozen", b="judge"))
    assert str(roles(b="judge", a="frozen")) == "a=frozen(main),b=judge"


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"HEADRACE_AGENTS": {"writer": "nobody"}}, r"\[agents\] writer .*'nobody'.* main"),
        ({"HEADRACE_AGENTS": {"writer": "frozen(nobody)"}}, r"\[agents\] writer .*no policy"),
        ({"HEADRACE_POLICIES": {"frozen": "smollm2"}}, r"\[policies\] frozen .*\[agents\]"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(
    environment: dict[str, dict[str, str]], told: str
) -> None:
    texts = {name: json.dumps(value) for name, value in environment.items()}
    with pytest.raises(BadSettings, match=told):
        roles_from_environment({"HEADRACE_POLICY_NAME": "main", **texts})
