"""Shares of a policy's traffic: each rollout gets one version, drawn from its id."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.gateway.policy.versions import PolicyBook
from headrace.schemas import PolicyRecord, PolicyVersion, Traffic, TrafficShare, new_ulid

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

CHAT = "/rollout/{}/attempt/a/v1/chat/completions"


def book(*shares: tuple[int, float], versions: int = 4) -> PolicyBook:
    made = PolicyBook("p")
    made.take(
        PolicyRecord(version=PolicyVersion(policy="p", version=one)) for one in range(versions)
    )
    made.take([traffic("p", *shares)])
    return made


def traffic(policy: str, *shares: tuple[int, float], version: int = -1) -> PolicyRecord:
    told = [TrafficShare(version=one, share=share) for one, share in shares]
    return PolicyRecord(traffic=Traffic(policy=policy, version=version, shares=told))


@given(
    st.lists(st.floats(0.01, 0.3), min_size=1, max_size=3),
    st.lists(st.text(min_size=1), min_size=1, max_size=20),
)
def test_a_rollout_gets_the_same_version_from_every_gateway(
    shares: list[float], rollouts: list[str]
) -> None:
    told = list(enumerate(shares))
    one, other = book(*told), book(*told)
    drawn = [one.share_of(rollout) for rollout in rollouts]
    assert [other.share_of(rollout) for rollout in rollouts] == drawn
    assert set(drawn) <= {None, *range(len(shares))}


def test_versions_get_their_shares_of_the_rollouts() -> None:
    told = book((1, 0.1), (2, 0.25))
    counts = Counter(told.share_of(f"rollout-{number}") for number in range(20_000))
    assert abs(counts[1] / 20_000 - 0.1) < 0.01
    assert abs(counts[2] / 20_000 - 0.25) < 0.01
    assert counts[None] == 20_000 - counts[1] - counts[2]


def test_a_larger_share_keeps_the_rollouts_it_had() -> None:
    rollouts = [f"rollout-{number}" for number in range(1_000)]
    before = {one for one in rollouts if book((3, 0.1)).share_of(one) == 3}
    after = {one for one in rollouts if book((3, 0.4)).share_of(one) == 3}
    assert before < after


def test_a_share_of_a_version_that_is_not_published_is_nobodys() -> None:
    told = book((9, 1.0))
    assert told.share_of("r") is None
    told.take([PolicyRecord(version=PolicyVersion(policy="p", version=9))])
    assert told.share_of("r") == 9
    told.take([traffic("p")])
    assert told.share_of("r") is None


def test_calls_are_answered_by_their_rollouts_share_and_pins_win(
    make_gateway: "Callable[..., Harness]",
) -> None:
    gateway = make_gateway().serve(0)
    gateway.publish(1)
    gateway.wait_until(lambda: gateway.serving.served == 1, "version 1")
    gateway.call(gateway.policies.take, [traffic("calc", (0, 0.5))])
    answered: dict[str, set[str]] = {}
    rollouts = [new_ulid() for _ in range(12)]
    for rollout in rollouts * 2:
        answer = gateway.chat(CHAT.format(rollout)).json()
        answered.setdefault(rollout, set()).add(answer["system_fingerprint"])
    told = PolicyBook("calc", shares=[TrafficShare(version=0, share=0.5)])
    told.take([PolicyRecord(version=PolicyVersion(policy="calc", version=0))])
    assert answered == {
        rollout: {"calc@0" if told.share_of(rollout) == 0 else "calc@1"} for rollout in rollouts
    }
    pinned = {
        gateway.chat(CHAT.format(rollout), model="calc@1").json()["system_fingerprint"]
        for rollout in rollouts
    }
    assert pinned == {"calc@1"}
    calls = [span.call for span in gateway.telemetry.spans if span.call is not None]
    assert all(call.untrainable_reason == "" for call in calls)
