"""One real vLLM server for all tests here: started as the gateway starts it, on the CPU."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from headrace.connectors.engines.vllm.child import ChildConfig, running_server
from headrace.infra.embedded.artifacts import cache_dir
from headrace.infra.embedded.models import bundled_model
from tests.connectors.engines.vllm_server.asking import INTERPRETER, RUNNING


@pytest.fixture(scope="session")
def model() -> Path:
    return bundled_model(cache_dir())


@pytest.fixture(scope="session")
def weights(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `3` and `4` with other weights of the model, and folders that are none."""
    root = tmp_path_factory.mktemp("weights")
    base = load_file(model / "model.safetensors")
    for version in (3, 4):
        torch.manual_seed(version)
        other = {
            name: (tensor.float() * (1 + 0.03 * torch.randn(tensor.shape))).to(tensor.dtype)
            for name, tensor in base.items()
        }
        (root / str(version)).mkdir()
        save_file(other, root / str(version) / "model.safetensors")
    (root / "adapter").mkdir()
    save_file(dict(list(base.items())[:5]), root / "adapter" / "model.safetensors")
    (root / "cut").mkdir()
    whole = (root / "3" / "model.safetensors").read_bytes()
    (root / "cut" / "model.safetensors").write_bytes(whole[:-100])
    return root


@pytest.fixture(scope="session")
def url(model: Path, weights: Path) -> Iterator[str]:
    if RUNNING:
        yield RUNNING
        return
    config = ChildConfig(
        command=f"{INTERPRETER} -- --enforce-eager",
        model=model,
        roots=(weights,),
        dtype="bfloat16",
        max_batch=48,
    )
    ended: list[int] = []
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        yield runner.run(stack.enter_async_context(running_server(config, ended.append)))
        assert not ended, f"the server ended with {ended}"
        runner.run(stack.aclose())
