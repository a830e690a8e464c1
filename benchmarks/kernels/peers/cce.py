"""cut-cross-entropy 25.1.1: log-probabilities from its kernels, the row loss by autograd."""

from collections.abc import Callable

from benchmarks.kernels.cases import Case
from benchmarks.kernels.routes import Loss, Outcome, Provider, ignoring, of_logp, peer


def cut(implementation: str, filter_eps: str | None) -> Callable[[], Loss]:
    """`linear_cross_entropy`; `filter_eps` None computes the whole gradient."""

    def make() -> Loss:
        module = peer("cut_cross_entropy")

        def loss(case: Case) -> Outcome:
            values = module.linear_cross_entropy(
                case.hidden,
                case.weight,
                ignoring(case),
                reduction="none",
                impl=implementation,
                filter_eps=filter_eps,
            )
            return of_logp(case, -values)

        return loss

    return make


PROVIDERS = (
    Provider(name="cut cross-entropy (filtered)", make=cut("cce", "high"), device="cuda"),
    Provider(name="cut cross-entropy (whole)", make=cut("cce", None), device="cuda"),
    Provider(name="cut cross-entropy (torch.compile)", make=cut("torch_compile", None)),
)
