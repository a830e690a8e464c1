"""On which device the trainer calculates."""

import torch

from headrace.trainer.errors import PolicyLoadError


def chosen(setting: str) -> str:
    """The torch device that `[trainer] device` means: `auto` is a GPU if there is one."""
    if setting != "auto":
        return setting
    return "cuda" if _gpus() else "cpu"


def device_of(setting: str) -> str:
    """`chosen`. Raises PolicyLoadError where the one that is asked for is not there."""
    device, count = chosen(setting), _gpus()
    if device.startswith("cuda") and int(device.partition(":")[2] or 0) >= count:
        raise PolicyLoadError(
            f"[trainer] device is {setting!r}, and torch sees {count} GPUs here: give 'auto' or "
            "'cpu', or look at the driver and at CUDA_VISIBLE_DEVICES"
        )
    return device


def _gpus() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0
