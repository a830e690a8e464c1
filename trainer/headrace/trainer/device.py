"""On which device the trainer calculates."""

import torch

from headrace.trainer.errors import PolicyLoadError


def device_of(setting: str) -> str:
    """The torch device of `[trainer] device`: `auto` takes a GPU if there is one.

    Raises PolicyLoadError where the one that is asked for is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if setting == "auto":
        return "cuda" if count else "cpu"
    if setting.startswith("cuda") and int(setting.partition(":")[2] or 0) >= count:
        raise PolicyLoadError(
            f"[trainer] device is {setting!r}, and torch sees {count} GPUs here: give 'auto' or "
            "'cpu', or look at the driver and at CUDA_VISIBLE_DEVICES"
        )
    return setting
