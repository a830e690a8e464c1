"""Agents of several policies in one episode: each trainer ends its own samples, each once."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.engines.roles import AgentsSettings, Roles, roles_of
from headrace.schemas import Credits, Episode, EpisodeCall, Outcome, Sample
from headrace.streams.credit import Arrival, CreditMethod, GroupPatience, Groups
from headrace.streams.credit.shares import shares_of
from headrace.streams.reward import Rule
from headrace.trainer.intake import Intake
from headrace.trainer.trainable import IntakeConfig
from tests.trainer.taking_in import NOW, at, sample

TRAINED = ("p", "q")
RULE = Rule(name="result", version="1", function=lambda episode: float(episode.result))
ROLES: Roles = roles_of((*TRAINED, "judge"), AgentsSettings(entries={"checker": "frozen(judge)"}))[
    0
]


@st.composite
def episodes(draw: st.DrawFn) -> list[Episode]:
    """A group whose agents call several policies, some of them not to be trained."""
    calls = st.tuples(st.sampled_from(["p", "q", "judge", ""]), st.booleans())
    made = []
    for number in range(draw(st.integers(2, 4))):
        called = draw(st.lists(calls, max_size=4))
        made.append(
            Episode(
                rollout_id=f"g-{number}",
                attempt="a",
                group_id="g",
                group_size=4,
                group_rollouts=[f"g-{n}" for n in range(4)],
                policy="p",
                version=3,
                status="ok",
                result=str(draw(st.integers(0, 1))),
                deadline=10,
                calls=[
                    EpisodeCall(
                        span_id=f"s{n}",
                        policy=policy,
                        agent="checker" if policy == "judge" else "solver",
                        trainable=is_trainable and policy in TRAINED,
                    )
                    for n, (policy, is_trainable) in enumerate(called)
                ],
            )
        )
    return made


def credited(group: list[Episode]) -> list[Credits]:
    """The shares of a group after its deadline."""
    groups = Groups(RULE, CreditMethod(roles=ROLES), GroupPatience(grace_ms=0))
    arrivals = [Arrival(partition=0, log_time=1, episode=one) for one in group]
    groups.advance(0, 100)
    groups.needs(arrivals)
    groups.fold(arrivals)
    (change,) = groups.settle()
    assert change.credits is not None
    return list(shares_of(change.held.state, change.credits, ROLES.trained))


def sampled(group: list[Episode]) -> list[Sample]:
    """What the assembler makes of their trainable calls."""
    return [
        sample_of(one, call)
        for one in group
        for call in one.calls
        if call.trainable
    ]  # fmt: skip


def sample_of(one: Episode, call: EpisodeCall) -> Sample:
    made = sample("g", 0, policy=call.policy)
    return Sample(
        **{
            **{name: getattr(made, name) for name in Sample.__slots__},
            "sample_id": f"{one.rollout_id}/a/{call.span_id}/0",
            "rollout_id": one.rollout_id,
        }
    )


@given(episodes(), st.integers(0, 1 << 30))
def test_every_sample_and_rollout_ends_once_and_nothing_is_left(
    group: list[Episode], seed: int
) -> None:
    shares, samples = credited(group), sampled(group)
    records: list[Credits | Sample] = [*samples, *shares]
    random.Random(seed).shuffle(records)
    ended: Counter[tuple[str, str]] = Counter()
    rollouts: Counter[str] = Counter()
    for policy in TRAINED:
        core = Intake(IntakeConfig(policy=policy, rollouts_per_step=1))
        outcomes: list[Outcome] = []
        for offset, record in enumerate(records):
            if isinstance(record, Sample):
                core.add_sample(record, at("s", offset))
            else:
                outcomes += core.add_credits(record, at("c", offset), NOW)
        outcomes += core.settle({0: len(records)}, NOW)
        outcomes += core.trained(core.next_batch(), NOW)
        assert (core.waiting_groups, core.held_samples, core.lowest_needed()) == (0, 0, {})
        assert {one.policy for one in outcomes} <= {policy}
        ended.update((policy, one.sample_id) for one in outcomes if one.sample_id)
        rollouts.update(one.rollout_id for one in outcomes if not one.sample_id)
    calls = [(one, call) for one in group for call in one.calls]
    owned = Counter(
        (call.policy if call.policy in TRAINED else "p", f"{one.rollout_id}/a/{call.span_id}/0")
        for one, call in calls
    )
    assert ended == owned
    # A rollout that made no sample of its tasks' policy ends by itself, once.
    called = {one.rollout_id for one, call in calls if call.policy != "q"}
    assert rollouts == Counter({f"g-{n}" for n in range(4)} - called)


def test_the_policies_of_an_episode_share_its_reward() -> None:
    solver = EpisodeCall(span_id="s0", policy="p", agent="solver", trainable=True)
    helper = EpisodeCall(span_id="s1", policy="q", agent="helper", trainable=True)
    group = [
        Episode(
            rollout_id=f"g-{n}", attempt="a", group_id="g", group_size=2, policy="p", version=3,
            status="ok", result=str(n), calls=[solver, helper] if n else [solver],
        )
        for n in range(2)
    ]  # fmt: skip
    main, further = credited(group)
    assert (main.policy, further.policy) == ("p", "q")
    assert [one.rollout_id for one in main.members] == ["g-0", "g-1"]
    assert [one.rollout_id for one in further.members] == ["g-1"]
    assert (main.mean, main.std) == (further.mean, further.std)
    assert further.samples[0].advantage == main.samples[1].advantage > 0
