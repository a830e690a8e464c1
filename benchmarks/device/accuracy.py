"""Every operation of the kernels against float64."""

import sys
from collections.abc import Callable

import torch
from benchmarks.device.book import tell
from benchmarks.device.options import PartOptions, attempt, part_options


def main() -> int:
    """Writes the largest errors; 1 if one operation failed."""
    options = part_options("benchmarks.device.accuracy")
    failed = False
    for name, case in _cases(options).items():
        if options.is_over():
            tell(options.lines, name, state="left out: the time was spent")
            continue
        values = attempt(case)
        failed |= "failed" in values
        tell(options.lines, name, **values)
    return int(failed)


def _cases(options: PartOptions) -> dict[str, Callable[[], dict[str, float]]]:
    from benchmarks.kernels import check
    from benchmarks.kernels.providers import PROVIDERS

    references = check.references(options.device)

    def loss(name: str) -> dict[str, float]:
        found = check.check(PROVIDERS[name], options.device, references)
        if found.reason is not None:
            raise ArithmeticError(found.reason)
        worst = {
            field: max(getattr(error, field) for error in found.errors.values())
            for field in ("loss", "grad_hidden", "grad_weight")
        }
        shown = [error.logp for error in found.errors.values() if error.logp is not None]
        return worst | ({"logp": max(shown)} if shown else {})

    ours = [name for name, one in PROVIDERS.items() if one.kind == "ours"]
    # In the interpreter one way is a rehearsal of them all.
    wanted = ours[:1] if options.rehearse else ours
    losses = {name: (lambda name=name: loss(name)) for name in wanted}
    return {**losses, "linear_logp": lambda: _logp(options), "gae": lambda: _gae(options)}


def _logp(options: PartOptions) -> dict[str, float]:
    from headrace.kernels import linear_logp
    from headrace.kernels.losses.reference import linear_logp_reference

    rows, depth, vocabulary = (8, 32, 130) if options.rehearse else (4096, 896, 32_003)
    dtype = torch.float32 if options.rehearse else torch.bfloat16
    g = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, depth, generator=g).to(options.device, dtype)
    weight = (torch.randn(vocabulary, depth, generator=g) / depth**0.5).to(options.device, dtype)
    targets = torch.randint(vocabulary, (rows,), generator=g).to(options.device)
    mine = linear_logp(hidden, weight, targets, impl="triton")
    exact = linear_logp_reference(hidden, weight, targets)
    return {
        name: float((getattr(mine, name).double() - getattr(exact, name)).abs().max())
        for name in ("logp", "lse", "entropy")
    }


def _gae(options: PartOptions) -> dict[str, float]:
    from headrace.kernels import gae
    from headrace.kernels.scan.reference import gae_reference

    rows, sequences = (40, 3) if options.rehearse else (8192, 50)
    g = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, rows, generator=g)
    mask = torch.rand(rows, generator=g) < 0.7
    cuts = torch.randint(rows, (sequences - 1,), generator=g).sort().values
    bounds = torch.cat((torch.zeros(1).long(), cuts, torch.tensor([rows])))
    exact = gae_reference(
        rewards, values, bounds, gamma=0.99, lam=0.95, mask=mask, bootstrap=torch.zeros(sequences)
    )
    on_device = [one.to(options.device) for one in (rewards, values, bounds, mask)]
    mine, _ = gae(*on_device[:3], gamma=0.99, lam=0.95, mask=on_device[3], impl="triton")
    return {"advantage": float((mine.cpu().double() - exact).abs().max())}


if __name__ == "__main__":
    sys.exit(main())
