"""The methods of the three stages by name: the one place in which a new one is named."""

from headrace.streams.credit import baseline, token
from headrace.streams.credit.baseline import Baseline
from headrace.streams.credit.call import CallMethod, outcome, step
from headrace.streams.credit.call.anchors import gigpo
from headrace.streams.credit.call.counterfactual import counterfactual
from headrace.streams.credit.call.turn_groups import turn_groups
from headrace.streams.credit.methods import Methods
from headrace.streams.credit.token import TokenMethod

CALL_METHODS: Methods[CallMethod] = Methods(
    stage="call method",
    plain={"uniform": outcome.UNIFORM},
    made={
        "discounted": outcome.discounted,
        "tool_outcome": outcome.tool_outcome,
        "to_go": step.to_go,
        "potential": step.by_potential,
        "turn_gae": step.by_value,
        "turn_groups": turn_groups,
        "gigpo": gigpo,
        "counterfactual": counterfactual,
    },
)

BASELINES: Methods[Baseline] = Methods(
    stage="baseline",
    plain={
        "grpo": baseline.grpo,
        "dr_grpo": baseline.dr_grpo,
        "rloo": baseline.rloo,
        "rloo_std": baseline.rloo_std,
        "leave_one_out": baseline.leave_one_out,
        "none": baseline.none,
    },
)

TOKEN_METHODS: Methods[TokenMethod] = Methods(
    stage="token method",
    plain={"uniform": token.UNIFORM},
    made={"discounted": token.discounted},
)
