"""Peers whose Triton kernels refuse a CPU, made to run in Triton's interpreter.

What is replaced are checks and functions that the interpreter lacks, never a peer's arithmetic.
"""

import importlib.util
import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.kernels.peers import verl


def stub_cut_cross_entropy(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The interpreter has none of CUDA's library of functions."""
    import triton.language as tl
    from cut_cross_entropy import tl_utils  # type: ignore[import-not-found]  # not installed

    class Functions:
        @staticmethod
        def log1p(x: Any) -> Any:
            return tl.log(x + 1.0)

    monkeypatch.setattr(tl_utils, "tl_libdevice", Functions)


def stub_trl(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Its Triton kernels in place of the torch code that it takes off a GPU."""
    from trl.kernels import chunked_logprob  # type: ignore[import-not-found]  # not installed
    from trl.trainer import utils  # type: ignore[import-not-found]  # not installed

    monkeypatch.setattr(chunked_logprob, "_use_triton", lambda _: True)
    monkeypatch.setattr(utils, "_supports_trl_loss_kernel", lambda *_: True)


def stub_verl(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A copy of its kernel file that asks for no CUDA tensor and tunes nothing."""
    import triton

    verl._stub_package()
    package = importlib.import_module("verl.utils.kernel")
    source = (Path(package.__path__[0]) / "kernels.py").read_text()
    copy = folder / "verl_kernels.py"
    copy.write_text(re.sub(r"^( *)assert .*is_cuda.*$", r"\1pass", source, flags=re.MULTILINE))

    def only_configuration(configs: Any, **_: Any) -> Any:
        values = configs[0].all_kwargs()
        return triton.heuristics({name: _constant(value) for name, value in values.items()})

    name = "verl.utils.kernel.kernels"
    spec = importlib.util.spec_from_file_location(name, copy)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(package, "kernels", module, raising=False)
    monkeypatch.setattr(triton, "autotune", only_configuration)
    monkeypatch.setattr(torch.cuda.nvtx, "range", lambda *_: nullcontext())
    spec.loader.exec_module(module)


def _constant(value: Any) -> Callable[[Any], Any]:
    return lambda _: value
