"""`linear_logp` against the float64 reference."""

import pytest
import torch

from headrace.kernels import linear_logp
from headrace.kernels.losses.reference import linear_logp_reference


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("chunk_rows", [None, 1, 7])
@pytest.mark.parametrize("shift", [0.0, 80.0, -80.0])
def test_log_probabilities_lse_and_entropy_match_float64(
    dtype: torch.dtype, chunk_rows: int | None, shift: float
) -> None:
    g = torch.Generator().manual_seed(1)
    hidden = torch.randn(20, 8, generator=g)
    hidden[:, 0] = 1.0
    weight = torch.randn(61, 8, generator=g)
    weight[:, 0] = shift  # moves every logit alike
    hidden, weight = hidden.to(dtype), weight.to(dtype)
    targets = torch.randint(61, (20,), generator=g)
    temperature = torch.linspace(0.5, 1.5, 20)
    out = linear_logp(hidden, weight, targets, temperature=temperature, chunk_rows=chunk_rows)
    expected = linear_logp_reference(hidden, weight, targets, temperature)
    # One unit in the last place of a logit of 160 is 1.5e-5 in fp32.
    for name in ("logp", "lse", "entropy"):
        torch.testing.assert_close(
            getattr(out, name).double(), getattr(expected, name), rtol=1e-6, atol=5e-5
        )
    assert not out.logp.requires_grad


def test_a_certain_token_keeps_its_small_log_probability() -> None:
    hidden, weight = torch.ones(1, 1), torch.tensor([[12.0], [0.0]])
    out = linear_logp(hidden, weight, torch.tensor([0]))
    assert out.logp.item() == pytest.approx(-6.1442e-6, rel=0.05)


@pytest.mark.filterwarnings("ignore::RuntimeWarning:triton")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(
    ("v", "h", "chunk_rows", "shift"),
    [(61, 8, None, 0.0), (61, 6, 7, 80.0), (65, 24, 20, -80.0), (130, 6, None, -80.0)],
)
def test_triton_matches_float64(
    dtype: torch.dtype, v: int, h: int, chunk_rows: int | None, shift: float
) -> None:
    """Logits shifted alike, hidden sizes that fit the bulk copy engine and one that does not."""
    g = torch.Generator().manual_seed(1)
    hidden = torch.randn(20, h, generator=g)
    hidden[:, 0] = 1.0
    weight = torch.randn(v, h, generator=g)
    weight[:, 0] = shift
    hidden, weight = hidden.to(dtype), weight.to(dtype)
    targets = torch.randint(v, (20,), generator=g)
    targets[3] = v - 1
    temperature = torch.linspace(0.5, 1.5, 20)
    out = linear_logp(
        hidden, weight, targets, temperature=temperature, chunk_rows=chunk_rows, impl="triton"
    )
    expected = linear_logp_reference(hidden, weight, targets, temperature)
    for name in ("logp", "lse", "entropy"):
        torch.testing.assert_close(
            getattr(out, name).double(), getattr(expected, name), rtol=1e-6, atol=5e-5
        )


def test_triton_keeps_the_small_log_probability_of_a_certain_token() -> None:
    hidden, weight = torch.ones(1, 4), torch.tensor([[3.0] * 4, [0.0] * 4])
    out = linear_logp(hidden, weight, torch.tensor([0]), impl="triton")
    assert out.logp.item() == pytest.approx(-6.1442e-6, rel=0.05)


def test_triton_is_refused_where_it_cannot_run() -> None:
    double = torch.ones(1, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match="float64"):
        linear_logp(double, double, torch.tensor([0]), impl="triton")
