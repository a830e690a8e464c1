"""Every peer that is installed computes our loss: on the CPU, against float64.

None is a dependency, so each is skipped with the reason where it is absent.
"""

import importlib.util
from pathlib import Path

import pytest
import torch
from benchmarks.kernels import cases, check
from benchmarks.kernels.exact import Exact, errors, exact
from benchmarks.kernels.providers import PROVIDERS
from benchmarks.kernels.routes import Absent

from tests.kernels.peer_stubs import stub_cut_cross_entropy, stub_trl, stub_verl

pytestmark = pytest.mark.interpreter

CPU = torch.device("cpu")
FP16 = cases.Size(tokens=32, depth=64, vocabulary=520, sequence=8, dtype=torch.float16)
# Their kernels are for GPUs: elsewhere they take torch, or refuse.
OTHERWISE_ON_A_CPU = {
    "TRL chunked log-probabilities": ("trl", stub_trl),
    "TRL selective log-softmax on logits": ("trl", stub_trl),
}
REFUSE_A_CPU = {
    "cut cross-entropy (filtered)": ("cut_cross_entropy", stub_cut_cross_entropy),
    "cut cross-entropy (whole)": ("cut_cross_entropy", stub_cut_cross_entropy),
    "verl linear cross-entropy": ("verl", stub_verl),
}
ELSEWHERE = [
    name for name, one in PROVIDERS.items() if one.kind == "peer" and name not in REFUSE_A_CPU
]


@pytest.fixture(scope="module")
def exacts() -> dict[str, Exact]:
    return check.references(CPU)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_it_computes_the_loss(name: str, exacts: dict[str, Exact]) -> None:
    try:
        loss = PROVIDERS[name].ready(CPU)
    except Absent as reason:
        pytest.skip(str(reason))
    for what, reference in exacts.items():
        assert errors(loss, reference).worst < 1e-5, what


@pytest.mark.parametrize("name", [*REFUSE_A_CPU, *OTHERWISE_ON_A_CPU])
def test_it_computes_the_loss_in_the_interpreter(
    name: str, exacts: dict[str, Exact], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package, stub = (REFUSE_A_CPU | OTHERWISE_ON_A_CPU)[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    stub(monkeypatch, tmp_path)
    loss = PROVIDERS[name].make()
    limit = 1e-5
    if package == "cut_cross_entropy":  # its backward pass takes no fp32
        base = cases.make_case(FP16, CPU)
        exacts = {
            "dapo": exact(base, 1 << 30),
            "dapo-kl": exact(cases.with_loss(cases.masked(base, 0.6), "dapo-kl"), 1 << 30),
        }
        limit = 5e-3
    for what, reference in exacts.items():
        assert errors(loss, reference).worst < limit, what
