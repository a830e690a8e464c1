"""The engines by name. One more is a module that has `opened`, and its line here."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import cast

from headrace.connectors.engines.arithmetic import Dtype
from headrace.connectors.engines.base import Engine

ENGINES: Mapping[str, str] = {
    "transformers": "headrace.connectors.engines.transformers.opening",
    "vllm": "headrace.connectors.engines.vllm.opening",
}
"""Name, as `[gateway] engine` has it -> module, imported when it is wanted: torch takes seconds."""

OnLoss = Callable[[str], None]
"""Gets a sentence when a server that was started has ended."""


@dataclass(kw_only=True, slots=True, frozen=True)
class EngineWanted:
    """What an engine is opened with; each takes of it what it needs."""

    model: Path
    """The policy's base model."""
    dtype: Dtype
    """In what it calculates."""
    max_batch: int
    """Requests decoded together at most."""
    max_sequence: int
    """Tokens of prompt and completion at most."""
    threads: int = 2
    """CPU threads of an engine in this process."""
    url: str = ""
    """A server that runs; empty: the engine starts its own by `command`."""
    command: str = ""
    """An interpreter, and flags after ` -- `."""
    api_key: str = field(default="", repr=False)
    """The server's key."""
    roots: tuple[Path, ...] = ()
    """Where a server may load weights from, besides the model's own folder."""


def opened(name: str, wanted: EngineWanted, on_loss: OnLoss) -> AbstractAsyncContextManager[Engine]:
    """The engine of a name, closed when the block ends. Raises EngineError as it is entered."""
    module = import_module(ENGINES[name])
    return cast("AbstractAsyncContextManager[Engine]", module.opened(wanted, on_loss))
