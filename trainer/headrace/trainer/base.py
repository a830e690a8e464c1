"""The base model of a policy, named by what it holds. No torch."""

import hashlib
import json
from pathlib import Path

from headrace.schemas import PolicyVersion
from headrace.trainer.errors import BaseChanged

_CONTENT = ("*.safetensors", "*.bin", "config.json", "tokenizer*", "vocab.json", "merges.txt")
"""What decides what a model says; not its documentation, nor how it is served."""


def base_hash(directory: Path) -> str:
    """sha256 over the files of a model directory that hold weights, shape and tokens."""
    files = sorted({file for pattern in _CONTENT for file in directory.glob(pattern)})
    found = {}
    for file in files:
        with file.open("rb") as content:
            found[file.name] = hashlib.file_digest(content, "sha256").hexdigest()
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def refuse_another(last: PolicyVersion | None, base: str, name: str) -> None:
    """Raises BaseChanged where a policy that was begun from another base would be gone on with.

    last: its newest version; base, name: hash and name of the model it has now. Versions from
    before bases had hashes are gone on with.
    """
    if last is None or not last.base_hash or last.base_hash == base:
        return
    raise BaseChanged(
        f"{last.policy} was begun from {last.base_model} ({last.base_hash[:12]}…), and its model "
        f"is now {name} ({base[:12]}…); going on would serve version {last.version}, trained from "
        "the former, under the name of the latter. Give the new model a new [policy] name (it "
        f"starts at version 0), or set the model back; to go on from {last.policy}@{last.version} "
        f"under a new name, give that name the model {last.uri}"
    )
