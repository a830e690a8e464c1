"""Which calls may be trained. Pure.

The policy gradient needs the probability with which each token was really drawn. That is the
engine's softmax(logits / T) only if nothing cut or bent the distribution: with T = 0.6 and
top-p 0.95 the plain log-probabilities look harmless, and the true sequence ratio is 2e-6.
"""

import math
from collections.abc import Sequence

from headrace.connectors.engines import SamplingParameters
from headrace.schemas.vocabulary import Untrainable


def untrainable_reason(
    sampling: SamplingParameters,
    *,
    is_constrained: bool = False,
    token_ids: Sequence[int],
    logprobs: Sequence[float],
    versions: Sequence[int],
    policy: str,
    selected: bool = True,
) -> str:
    """Why a completion of our engine is not trainable; empty if it is.

    Args:
        sampling: the parameters it was really drawn with.
        is_constrained: whether a form masked tokens.
        token_ids: what was sampled, the end token included.
        logprobs: of each token, under the distribution it was drawn from.
        versions: the policy version that drew each token.
        policy: whose versions these are; empty if the weights belong to no version.
        selected: whether its agent's calls are trained.
    """
    if not policy or any(version < 0 for version in versions):
        return Untrainable.NO_POLICY
    if not token_ids:
        return Untrainable.EMPTY_COMPLETION
    whole = len(logprobs) == len(token_ids) == len(versions)
    if not whole or not all(math.isfinite(value) for value in logprobs):
        return Untrainable.NO_LOGPROBS
    if sampling.temperature == 0:
        return Untrainable.GREEDY
    if is_constrained or not sampling.is_plain:
        return Untrainable.OFF_SUPPORT
    return "" if selected else Untrainable.NOT_SELECTED
