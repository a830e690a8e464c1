"""TRL 1.16: the route of its GRPO trainer, and its fused log-softmax on logits."""

from benchmarks.kernels.cases import Case
from benchmarks.kernels.routes import Loss, Outcome, Provider, of_logp, peer

WANTED = ("log_probs", "entropy")
"""What the GRPO trainer asks of the LM head (trl/trainer/grpo_trainer.py)."""


def chunked() -> Loss:
    """`ChunkedLogProbFunction`, called as TRL's fused LM head calls it: rows of the mask only."""
    function = peer("trl.kernels").ChunkedLogProbFunction
    width: int = peer("trl.trainer.utils")._CHUNKED_LOGPROB_CHUNK_SIZE

    def loss(case: Case) -> Outcome:
        chosen = case.mask != 0
        found, *_ = function.apply(
            case.hidden[chosen],
            case.weight,
            None,
            case.targets[chosen],
            1.0,
            width,
            None,
            1.0,
            WANTED,
        )
        return of_logp(case, found.new_zeros(chosen.shape).masked_scatter(chosen, found))

    return loss


def on_logits() -> Loss:
    """`selective_log_softmax`: a fused kernel on whole logits, rows outside the mask skipped."""
    module = peer("trl.trainer.utils")

    def loss(case: Case) -> Outcome:
        # Batches of sequences: off the GPU it loops over the first dimension.
        logits = case.by_sequence(case.hidden) @ case.weight.t()
        logp = module.selective_log_softmax(
            logits,
            case.by_sequence(case.targets),
            row_mask=case.by_sequence(case.mask != 0),
        )
        return of_logp(case, logp.reshape(-1))

    return loss


PROVIDERS = (
    Provider(name="TRL chunked log-probabilities", make=chunked),
    Provider(name="TRL selective log-softmax on logits", make=on_logits),
)
