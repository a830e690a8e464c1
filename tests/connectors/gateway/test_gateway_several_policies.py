"""A gateway that serves several policies, each by an engine and versions of its own."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from headrace.connectors.engines.roles import AgentsSettings
from headrace.connectors.gateway import GatewayConfig
from headrace.connectors.gateway.config import config_from_environment
from headrace.connectors.settings import BadSettings
from headrace.schemas import PolicyRecord, PolicyVersion, Traffic

if TYPE_CHECKING:
    import httpx2

    from tests.connectors.gateway.conftest import Harness

Gateways = Callable[..., "Harness"]
WRITER = {"writer": Path("unused")}


def published(policy: str, version: int, uri: str = "/weights/{}") -> PolicyRecord:
    return PolicyRecord(
        version=PolicyVersion(policy=policy, version=version, uri=uri.format(version))
    )


def serving_both(make_gateway: Gateways, **fields: Any) -> "Harness":
    """A gateway that serves version 1 of `calc` and version 4 of `writer`."""
    gateway = make_gateway(policies=WRITER, **fields)
    records = [published("calc", n) for n in (0, 1)] + [published("writer", n) for n in (3, 4)]
    gateway.call(gateway.policies.start, records)
    gateway.wait_until(
        lambda: [one.served for one in gateway.policies] == [1, 4], "a version of each"
    )
    return gateway


def test_each_policy_is_answered_by_its_own_engine_and_versions(make_gateway: Gateways) -> None:
    gateway = serving_both(make_gateway)
    for model, print_ in (
        ("calc", "calc@1"),
        ("writer", "writer@4"),
        ("writer@3", "writer@3"),
        ("gpt-5", "calc@1"),
    ):
        assert gateway.chat(model=model).json()["system_fingerprint"] == print_
    assert len(gateway.engines["writer"].requests) == 2
    assert [span.call.policy for span in gateway.telemetry.spans if span.call] == [
        "calc",
        "writer",
        "writer",
        "calc",
    ]


def test_a_version_of_one_policy_is_none_of_another(make_gateway: Gateways) -> None:
    gateway = serving_both(make_gateway)
    refused = gateway.chat(model="writer@1")
    assert (refused.status_code, "writer@1" in refused.text) == (404, True)
    assert gateway.chat(model="calc@4").status_code == 404


def test_all_policies_and_their_versions_are_listed(make_gateway: Gateways) -> None:
    gateway = serving_both(make_gateway)
    listed = [model["id"] for model in gateway.get("/v1/models").json()["data"]]
    assert listed == ["calc", "writer", "calc@0", "calc@1", "writer@3", "writer@4"]
    assert gateway.get("/v1/models/writer@3").json()["version"] == 3


def test_weights_of_one_policy_that_cannot_be_loaded_leave_the_other_going_on(
    make_gateway: Gateways,
) -> None:
    gateway = serving_both(make_gateway, retry_s=0.01)
    gateway.engines["writer"].bad_directories.add("/weights/5")
    gateway.call(gateway.policies.take, [published("writer", 5), published("calc", 2)])
    gateway.wait_until(lambda: gateway.servings["writer"].load_failures >= 2, "two failed loads")
    gateway.wait_until(lambda: gateway.serving.served == 2, "version 2 of the other")
    assert gateway.chat(model="writer").json()["system_fingerprint"] == "writer@4"
    assert gateway.chat(model="calc").json()["system_fingerprint"] == "calc@2"
    health = gateway.get("/healthz")
    assert health.status_code == 200
    assert "writer@5" in health.json()["waiting_for"]
    metrics = gateway.get("/metrics").text
    assert 'headrace_policy_version{policy="writer"} 4.0' in metrics
    assert 'headrace_policy_version{policy="calc"} 2.0' in metrics


def test_a_gateway_is_ready_when_every_policy_has_a_version(make_gateway: Gateways) -> None:
    gateway = make_gateway(policies=WRITER)
    gateway.call(gateway.policies.start, [published("calc", 0)])
    gateway.wait_until(lambda: gateway.serving.served == 0, "the first policy")
    health = gateway.get("/healthz")
    assert health.status_code == 503
    assert "version 0 of writer" in health.json()["waiting_for"]
    assert gateway.chat(model="calc").status_code == 200
    assert gateway.chat(model="writer").status_code == 503


def test_traffic_of_one_policy_changes_nothing_for_another(make_gateway: Gateways) -> None:
    gateway = serving_both(make_gateway)
    rollback = PolicyRecord(traffic=Traffic(policy="writer", version=3))
    gateway.call(gateway.policies.take, [rollback])
    gateway.wait_until(lambda: gateway.servings["writer"].served == 3, "the rollback")
    assert gateway.serving.served == 1


def test_tokens_are_counted_for_the_policy_that_is_named(make_gateway: Gateways) -> None:
    gateway = serving_both(make_gateway)
    for model in ("calc", "writer"):
        body = {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "abc"}]}
        counted = gateway.post("/v1/messages/count_tokens", json=body)
        assert counted.json() == {"input_tokens": 3}


def with_roles(make_gateway: Gateways, **agents: str) -> "Harness":
    given = AgentsSettings(entries={name.replace("others", "*"): to for name, to in agents.items()})
    gateway = make_gateway(policies=WRITER, agents=given)
    records = [published("calc", n) for n in (0, 1)] + [published("writer", n) for n in (0, 4)]
    gateway.call(gateway.policies.start, records)
    gateway.wait_until(
        lambda: all(one.versions[-1:] == (one.served,) for one in gateway.policies),
        "a version of each",
    )
    return gateway


def ask(gateway: "Harness", agent: str, model: str) -> "httpx2.Response":
    named = {"model": model, "messages": [{"role": "user", "content": "1+2"}]}
    return gateway.post(json=named, headers={"x-headrace-agent": agent})


def test_an_agent_with_a_role_is_answered_by_its_policy_whatever_it_asks_for(
    make_gateway: Gateways,
) -> None:
    gateway = with_roles(make_gateway, author="writer", checker="frozen")
    for agent, model, print_ in (
        ("author", "calc", "writer@4"),
        ("author", "gpt-5", "writer@4"),
        ("author", "writer@0", "writer@0"),
        ("checker", "calc", "calc@0"),
        ("checker", "writer", "calc@0"),
        ("planner", "calc", "calc@1"),
        ("planner", "writer", "writer@4"),
        ("planner", "gpt-5", "calc@1"),
        ("", "calc", "calc@1"),
    ):
        answer = ask(gateway, agent, model)
        assert (agent, model, answer.json()["system_fingerprint"]) == (agent, model, print_)


def test_calls_of_a_frozen_agent_stay_in_the_episode_and_are_not_trained(
    make_gateway: Gateways,
) -> None:
    gateway = with_roles(make_gateway, checker="frozen", guard="untrained")
    for agent in ("checker", "guard", "solver"):
        ask(gateway, agent, "calc")
    told = [
        (span.agent, span.call.untrainable_reason, len(span.call.sampled_ids) > 0)
        for span in gateway.telemetry.spans
        if span.call is not None
    ]
    assert told == [
        ("checker", "not_selected", True),
        ("guard", "not_selected", True),
        ("solver", "", True),
    ]


def test_a_frozen_agent_is_not_moved_by_versions_or_traffic(make_gateway: Gateways) -> None:
    gateway = with_roles(make_gateway, checker="frozen")
    moved = [published("calc", 2), PolicyRecord(traffic=Traffic(policy="calc", version=1))]
    gateway.call(gateway.policies.take, moved)
    gateway.wait_until(lambda: gateway.servings["calc"].served == 1, "the traffic")
    answer = ask(gateway, "checker", "calc")
    assert answer.json()["system_fingerprint"] == "calc@0"


def test_a_default_policy_that_nobody_follows_is_frozen_for_all(make_gateway: Gateways) -> None:
    gateway = with_roles(make_gateway, author="writer", others="frozen")
    for model in ("calc", "gpt-5"):
        assert gateway.chat(model=model).json()["system_fingerprint"] == "calc@0"
    assert gateway.chat(model="writer").json()["system_fingerprint"] == "writer@4"


def test_one_vllm_server_is_not_named_for_several_policies() -> None:
    with pytest.raises(BadSettings, match=r"\[gateway\] engine_url names one server"):
        GatewayConfig(
            model_directory=Path("unused"),
            policies=WRITER,
            engine="vllm",
            engine_url="http://127.0.0.1:1",
        )


def test_the_process_is_told_its_policies_and_their_models() -> None:
    config = config_from_environment(
        {"HEADRACE_POLICY_NAME": "calc"},
        ["--model-directory", "/m/a", "--policy", "writer=/m/b", "--policy", "judge=/m/c=d"],
    )
    assert config.models == {
        "calc": Path("/m/a"),
        "writer": Path("/m/b"),
        "judge": Path("/m/c=d"),
    }


def test_a_policy_whose_weights_load_slowly_holds_up_no_other(make_gateway: Gateways) -> None:
    gateway = serving_both(make_gateway)
    gateway.engines["writer"].hold_load = asyncio.Event()
    gateway.call(gateway.policies.take, [published("writer", 5)])
    for version in (2, 3, 4):
        gateway.call(gateway.policies.take, [published("calc", version)])
        gateway.wait_until(partial(_serves, gateway, version), "the next version")
        assert gateway.chat(model="calc").json()["system_fingerprint"] == f"calc@{version}"
    assert gateway.chat(model="writer").json()["system_fingerprint"] == "writer@4"
    gateway.call(gateway.engines["writer"].hold_load.set)
    gateway.wait_until(lambda: gateway.servings["writer"].served == 5, "the slow one")
    assert gateway.chat(model="writer").json()["system_fingerprint"] == "writer@5"


def _serves(gateway: "Harness", version: int) -> bool:
    return gateway.serving.served == version
