"""The credit stage's settings, as a process finds them in its environment."""

import os

import pytest

from headrace.connectors.settings import BadSettings, from_environment
from headrace.streams.credit.config import CreditSettings


def test_the_defaults_are_lightning_s_uniform_call_and_grpo() -> None:
    config = from_environment(CreditSettings, "credit", os.environ)
    assert config.method.id == "uniform/grpo/uniform@3"
    assert config.rule == "reward-span:reward"


def test_each_stage_of_credit_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_CREDIT_RULE", "span:a=1")
    monkeypatch.setenv("HEADRACE_CREDIT_BASELINE", "rloo")
    monkeypatch.setenv("HEADRACE_CREDIT_CALL", "discounted(0.9)")
    monkeypatch.setenv("HEADRACE_CREDIT_GRACE_MS", "5")
    config = from_environment(CreditSettings, "credit", os.environ)
    assert config.rule == "span:a=1"
    assert config.method.id == "discounted(0.9)/rloo/uniform@3"
    assert config.patience.grace_ms == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HEADRACE_CREDIT_BASELINE", "gprs"),
        ("HEADRACE_CREDIT_GRACE_MS", "soon"),
        ("HEADRACE_CREDIT_MAX_WAIT_MS", "0"),
        ("HEADRACE_CREDIT_MAX_HELD", "0"),
        ("HEADRACE_CREDIT_RULE", "nope nope"),
        ("HEADRACE_CREDIT_RULE", "span:a=x"),
        ("HEADRACE_CREDIT_RULE", "span:a=nan"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings):
        from_environment(CreditSettings, "credit", os.environ)
