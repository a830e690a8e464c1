"""Which calls may be trained."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.engines import SamplingParameters
from headrace.connectors.gateway.trainable import untrainable_reason


def reason(
    *,
    token_ids: tuple[int, ...] = (5, 6),
    logprobs: tuple[float, ...] = (-0.5, -1.0),
    versions: tuple[int, ...] = (3, 4),
    policy: str = "calc",
    **sampling: Any,
) -> str:
    return untrainable_reason(
        SamplingParameters(**sampling),
        token_ids=token_ids,
        logprobs=logprobs,
        versions=versions,
        policy=policy,
    )


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({}, ""),
        ({"temperature": 0.6}, ""),
        ({"temperature": 2.0, "seed": 7, "stop": ("x",)}, ""),
        ({"temperature": 0.0}, "greedy"),
        ({"top_p": 0.95}, "off_support"),
        ({"top_k": 50}, "off_support"),
        ({"temperature": 0.6, "top_p": 0.95, "top_k": 20}, "off_support"),
        ({"policy": ""}, "no_policy"),
        ({"versions": (-1, 0)}, "no_policy"),
        ({"token_ids": (), "logprobs": (), "versions": ()}, "empty_completion"),
        ({"logprobs": ()}, "no_logprobs"),
        ({"logprobs": (-0.5,)}, "no_logprobs"),
        ({"versions": (3,)}, "no_logprobs"),
        ({"logprobs": (-0.5, math.nan)}, "no_logprobs"),
        ({"logprobs": (-0.5, -math.inf)}, "no_logprobs"),
    ],
)
def test_a_call_is_trainable_only_if_nothing_bent_its_distribution(
    case: dict[str, Any], expected: str
) -> None:
    assert reason(**case) == expected


@given(
    temperature=st.floats(0, 2),
    top_p=st.floats(0.01, 1),
    top_k=st.integers(0, 100),
)
def test_no_cut_distribution_is_ever_trainable(
    temperature: float, top_p: float, top_k: int
) -> None:
    told = reason(temperature=temperature, top_p=top_p, top_k=top_k)
    assert (told == "") == (temperature > 0 and top_p == 1 and top_k == 0)
