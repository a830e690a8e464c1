"""Token weights: what an episode weighs, whatever its length and number of turns."""

from collections.abc import Callable

import numpy as np
import pytest

from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.batch import TrainingRow
from headrace.trainer.choices import Correction

MakeRow = Callable[..., TrainingRow]


def test_horizon_weighs_every_token_alike(make_row: MakeRow) -> None:
    rows = [
        make_row([1], [2] * 3, name="a1", episode="a"),
        make_row([1], [2] * 5, name="a2", episode="a"),
        make_row([1], [2], name="b1", episode="b"),
    ]
    weights = AlgorithmConfig(horizon=16).token_weights(rows)
    assert [w.numel() for w in weights] == [3, 5, 1]
    assert np.unique(np.concatenate(weights)) == pytest.approx(1 / (16 * 2))


def test_more_turns_do_not_make_an_episode_weigh_more(make_row: MakeRow) -> None:
    one_call = [make_row([1], [2] * 6, name="a")]
    three_calls = [make_row([1], [2] * 2, name=f"a{i}", episode="a") for i in range(3)]
    for aggregation in ("horizon", "episode_mean", "call_mean", "token_mean"):
        config = AlgorithmConfig(aggregation=aggregation)
        one, three = config.token_weights(one_call), config.token_weights(three_calls)
        assert float(sum(w.sum() for w in three)) == pytest.approx(float(sum(w.sum() for w in one)))


def test_episode_mean_gives_every_episode_the_same_weight(make_row: MakeRow) -> None:
    rows = [
        make_row([1], [2] * 9, name="a"),
        make_row([1], [2], name="b1", episode="b"),
        make_row([1], [2], name="b2", episode="b"),
    ]
    a, b1, b2 = AlgorithmConfig(aggregation="episode_mean").token_weights(rows)
    assert float(a.sum()) == pytest.approx(0.5)
    assert float(b1.sum() + b2.sum()) == pytest.approx(0.5)


def test_token_mean_divides_by_all_tokens(make_row: MakeRow) -> None:
    rows = [make_row([1], [2] * 9, name="a"), make_row([1], [2], name="b")]
    weights = np.concatenate(AlgorithmConfig(aggregation="token_mean").token_weights(rows))
    assert weights == pytest.approx(0.1)


def test_credit_within_a_call_scales_its_tokens_without_moving_the_denominator(
    make_row: MakeRow,
) -> None:
    row = make_row([1], [2, 3], token_weights=[0.0, 2.0])
    (weights,) = AlgorithmConfig(horizon=4).token_weights([row])
    assert weights.tolist() == [0.0, 0.5]


def test_rejected_episodes_stay_in_the_denominator(make_row: MakeRow) -> None:
    (weights,) = AlgorithmConfig(horizon=2).token_weights([make_row([1], [2])], episodes=8)
    assert weights.tolist() == [1 / 16]
    with pytest.raises(ValueError, match="episodes is 1"):
        AlgorithmConfig().token_weights(
            [make_row([1], [2], name="a"), make_row([1], [2], name="b")], episodes=1
        )


def test_the_correction_chooses_the_row_loss() -> None:
    clipped = AlgorithmConfig(clip_high=0.28, kl_coef=0.1).loss()
    assert (clipped.kind, clipped.clip_high, clipped.tis_cap, clipped.kl_coef) == (
        "ppo",
        0.28,
        None,
        0.1,
    )
    truncated = AlgorithmConfig(correction="tis", tis_cap=4.0).loss()
    assert (truncated.kind, truncated.tis_cap) == ("reinforce", 4.0)


@pytest.mark.parametrize(
    ("correction", "cap", "bounds"),
    [
        ("none", None, None),
        ("tis", 2.0, None),
        ("decoupled", float("inf"), None),
        ("mis", None, (0.5, 2.0)),
    ],
)
def test_other_corrections_weigh_by_the_ratio_to_the_behaviour_policy(
    correction: Correction, cap: float | None, bounds: tuple[float, float] | None
) -> None:
    loss = AlgorithmConfig.preset("grpo", correction=correction).loss()
    assert (loss.kind, loss.tis_cap, loss.mis_bounds) == ("reinforce", cap, bounds)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"aggregation": "mean"}, "aggregation"),
        ({"correction": "some"}, "correction"),
        ({"row_loss": "gspo"}, "aggregation"),
        ({"name": "a2c"}, "name"),
        ({"horizon": 0}, "horizon"),
        ({"clip_low": 2.0}, "clip_low"),
        ({"correction": "tis", "tis_cap": 0.0}, "tis_cap"),
    ],
)
def test_a_bad_setting_is_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AlgorithmConfig(**settings)  # type: ignore[arg-type]  # wrong on purpose
