"""Rows: a credited sample's columns, or an error that names what does not hold."""

from dataclasses import replace

import numpy as np
import pytest

from headrace.schemas import Sample, SampleCredit
from headrace.trainer.batch import TrainingRow
from headrace.trainer.errors import RowError
from headrace.trainer.rows import rows_of

VOCABULARY = 16
SAMPLE = Sample(
    sample_id="r/a/s/0",
    rollout_id="r",
    attempt="a",
    group_id="g",
    prompt_ids=np.array([1, 2, 3], "<u4").tobytes(),
    sampled_ids=np.array([4, 15], "<u4").tobytes(),
    logprobs=np.array([-0.5, -1.5], "<f4").tobytes(),
    run_versions=[3, 4],
    run_lengths=[1, 1],
    temperature=0.7,
)
CREDIT = SampleCredit(sample_id="r/a/s/0", rollout_id="r", attempt="a", advantage=0.25)


def rows(sample: Sample, *credits: SampleCredit) -> list[TrainingRow]:
    return rows_of(credits or (CREDIT,), {sample.sample_id: sample}, VOCABULARY)


def test_a_row_has_the_samples_tokens_and_the_credits_advantage() -> None:
    weights = np.array([1.0, 0.5], "<f4")
    (row,) = rows(SAMPLE, replace(CREDIT, token_weights=weights.tobytes()))

    assert row.episode_id == "r/a"
    assert row.prompt_ids.tolist() == [1, 2, 3]
    assert row.sampled_ids.tolist() == [4, 15]
    assert row.behaviour_logp.tolist() == [-0.5, -1.5]
    assert row.versions.tolist() == [3, 4]
    assert (row.advantage, row.temperature) == (0.25, 0.7)
    assert row.token_weights is not None
    assert row.token_weights.tolist() == [1.0, 0.5]


def test_samples_without_trainable_credit_make_no_row() -> None:
    unwanted = replace(CREDIT, sample_id="r/a/t/0", trainable=False)
    assert [row.sample_id for row in rows(SAMPLE, CREDIT, unwanted)] == ["r/a/s/0"]


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ({"prompt_ids": b"\x00\x01\x02"}, "broken column"),
        ({"logprobs": b"\x00"}, "broken column"),
        ({"logprobs": np.zeros(3, "<f4").tobytes()}, "behaviour_logp"),
        ({"run_lengths": [1]}, "broken column"),
        ({"run_lengths": [1, 2]}, "versions"),
        ({"run_lengths": [-1, 3]}, "broken column"),
        ({"run_versions": [], "run_lengths": []}, "versions"),
        ({"sampled_ids": b"", "logprobs": b"", "run_lengths": [0, 0]}, "no sampled tokens"),
        ({"sampled_ids": np.array([4, 16], "<u4").tobytes()}, "vocabulary"),
        ({"prompt_base": "r/a/before"}, "whole prompts"),
        ({"temperature": 0.0}, "temperature"),
    ],
)
def test_a_sample_that_does_not_hold_is_named(broken: dict[str, object], named: str) -> None:
    with pytest.raises(RowError, match=rf"r/a/s/0.*{named}"):
        rows(replace(SAMPLE, **broken))  # type: ignore[arg-type]  # any field


def test_token_weights_cut_short_are_named() -> None:
    with pytest.raises(RowError, match="broken column"):
        rows(SAMPLE, replace(CREDIT, token_weights=b"\x00"))
