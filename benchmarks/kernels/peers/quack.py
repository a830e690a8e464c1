"""QuACK 0.6.5: a cross-entropy per row on whole logits.

Its chunked and its scaled-exp linear cross-entropy reduce to one mean or sum inside: no loss with
a factor per row can be made of them, so they are no RL loss. Per row it has a kernel on logits.
"""

from benchmarks.kernels.cases import Case
from benchmarks.kernels.routes import Loss, Outcome, Provider, ignoring, of_logp, peer


def on_logits() -> Loss:
    """`linear_cross_entropy_func` without reduction, gradients written over the logits."""
    module = peer("quack.linear_cross_entropy")

    def loss(case: Case) -> Outcome:
        values = module.linear_cross_entropy_func(
            case.hidden,
            case.weight,
            None,
            ignoring(case),
            reduction="none",
            inplace_backward=True,
        )
        return of_logp(case, -values)

    return loss


PROVIDERS = (Provider(name="QuACK cross-entropy on logits", make=on_logits, device="hopper"),)
