"""What the figures are of."""

import platform
from datetime import date

import torch

NOMINAL = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""FLOP/s of dense bf16 products by the maker's sheet (SXM), by a part of the card's name."""


def about(*, rehearse: bool) -> dict[str, str]:
    """Machine, versions and day; without `device` where there is none."""
    import transformers
    import triton

    found = {
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }
    if rehearse:
        return {**found, "device": "CPU, a rehearsal"}
    if not torch.cuda.is_available():
        return found
    return {**found, "device": torch.cuda.get_device_name(), "cuda": str(torch.version.cuda)}


def nominal_rate(device: str) -> float | None:
    """The maker's figure for a card, where it is known."""
    return next((rate for name, rate in NOMINAL.items() if name in device), None)
