"""The benchmark of credit: its truth is true, and what it calls bias and noise is that."""

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.credit.measure import Candidate, judged, measure
from benchmarks.credit.process import Array, Process
from benchmarks.credit.processes import everything, first_decides, stop_or_go
from benchmarks.credit.report import markdown
from benchmarks.credit.run import run
from benchmarks.credit.sample import walk

ALL = [pytest.param(process, id=process.name) for process in everything()]


def test_the_advantages_of_stop_or_go_on_are_those_of_the_arithmetic() -> None:
    process = stop_or_go()
    np.testing.assert_allclose(process.values(), [0.8, 1.0])
    np.testing.assert_allclose(process.advantages(), [[0.2, -0.2], [0.0, 0.0]], atol=1e-12)
    np.testing.assert_allclose(process.visits(), [1, 0.5])


@pytest.mark.parametrize("process", ALL)
def test_chances_sum_to_one_and_every_state_has_its_actions(process: Process) -> None:
    np.testing.assert_allclose(process.policy.sum(axis=1), 1)
    assert process.policy.shape == (process.states, 2)
    for of_state in process.arcs:
        for arcs in of_state:
            assert sum(arc.chance for arc in arcs) == pytest.approx(1)


@pytest.mark.parametrize("process", ALL)
def test_the_gradient_is_that_of_the_return_by_the_logits(process: Process) -> None:
    def returned(logits: Array) -> float:
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return float(replace(process, policy=chances).values()[0])

    logits, step = np.log(process.policy), 1e-5
    numeric = np.zeros_like(logits)
    for place in np.ndindex(logits.shape):
        up, down = logits.copy(), logits.copy()
        up[place] += step
        down[place] -= step
        numeric[place] = (returned(up) - returned(down)) / (2 * step)
    np.testing.assert_allclose(process.gradient(), numeric, atol=1e-8)


@pytest.mark.parametrize("process", ALL)
def test_episodes_return_what_the_values_say(process: Process) -> None:
    chance = np.random.default_rng(1)
    returns = np.array([walk(process, chance).reward for _ in range(3000)])
    error = 4 * returns.std() / np.sqrt(len(returns)) + 1e-9
    assert returns.mean() == pytest.approx(process.values()[0], abs=error)


def test_bias_is_of_direction_and_noise_of_spread() -> None:
    true = np.array([3.0, 4.0])
    scaled = judged(np.tile(true / 10, (50, 1)), true)
    assert (scaled.bias, scaled.noise) == pytest.approx((0, 0), abs=1e-6)
    wrong = judged(np.tile([4.0, 3.0], (50, 1)), true)
    assert wrong.bias == pytest.approx(7 / 25)  # the sine of the angle: 24/25 is its cosine
    spread = judged(np.array([[6.0, 8.0], [0.0, 0.0]] * 5000), true)
    assert spread.noise == pytest.approx(1, rel=1e-3)
    assert judged(-np.tile(true, (2, 1)), true).noise is None


def test_a_method_that_blames_the_wrong_calls_is_seen_to_be_noisier() -> None:
    process, chance = first_decides(), np.random.default_rng(0)
    groups = [[walk(process, chance) for _ in range(8)] for _ in range(200)]
    noise = {
        call: measure(process, groups, Candidate(call=call), 0).noise or np.inf
        for call in ("uniform", "discounted(0.7)", "turn_gae(1,0.5)")
    }
    assert noise["turn_gae(1,0.5)"] < noise["uniform"] < noise["discounted(0.7)"]


def test_the_page_has_a_cell_for_each_method_and_process() -> None:
    result = run([stop_or_go(), first_decides()], groups=20, size=4, seed=0)
    rows = [line for line in markdown(result).splitlines() if line.startswith("| `")]
    assert len(rows) == len(result["processes"]["first decides"]["methods"])
    assert all(row.count(" / ") >= 2 for row in rows)
