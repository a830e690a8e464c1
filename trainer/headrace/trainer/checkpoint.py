"""Checkpoints: complete, durable directories named by version and content hash.

`<directory>/000007-3f9a…/` is a Hugging Face model directory (bf16 weights, configuration,
tokenizer: engines load it as it is) with `optimizer.safetensors` (fp32 masters and moments),
`critic.safetensors` (the same of a critic, where there is one) and `manifest.json` (the hash of
every file). The content hash is that of the manifest, so it covers all files and stays checkable
for those that remain after pruning. The committed PolicyVersion names it; a directory that no
record names is an orphan of a crash.
"""

import copy
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from headrace.trainer.errors import CheckpointCorrupt, CheckpointMissing, NoSpace
from headrace.trainer.optimizer import MasterOptimizer, OptimizerConfig
from headrace.trainer.policy import PUBLISHED_DTYPE, Policy

MANIFEST = "manifest.json"
WEIGHTS = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"
CRITIC = "critic.safetensors"
_STATE = (OPTIMIZER, CRITIC)
"""Files that are pruned: only who trains on needs them."""
FORMAT = 1
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
"""How safetensors tells the number of the system's error."""
_NAME = re.compile(r"(\d{6,})-[0-9a-f]{16}")
_SAVING = ".saving-"
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
)


@dataclass(kw_only=True, slots=True, frozen=True)
class Saved:
    """A checkpoint on disk."""

    path: Path
    version: int
    content_hash: str
    """sha256 of the manifest, hex."""


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class Checkpoint:
    """A checkpoint in memory."""

    version: int
    policy: Policy
    optimizer: MasterOptimizer


def save(
    directory: Path,
    version: int,
    policy: Policy,
    optimizer: MasterOptimizer,
    critic: MasterOptimizer | None = None,
) -> Saved:
    """Write a checkpoint; when this returns, it is whole and on disk.

    The same content twice gives the same directory. A failure leaves nothing that looks whole.
    Raises NoSpace.
    """
    if version < 0:
        raise ValueError(f"version is {version}: it must not be negative")
    with _room(directory, version):
        directory.mkdir(parents=True, exist_ok=True)
        return _save(directory, version, policy, optimizer, critic)


def _save(
    directory: Path,
    version: int,
    policy: Policy,
    optimizer: MasterOptimizer,
    critic: MasterOptimizer | None,
) -> Saved:
    with _temporary(directory) as draft:
        _write_files(draft, policy, optimizer)
        if critic is not None:
            save_file(critic.state(), draft / CRITIC)
        files = {path.name: _describe(path) for path in sorted(draft.iterdir())}
        manifest = _canonical({"format": FORMAT, "version": version, "files": files})
        content_hash = hashlib.sha256(manifest).hexdigest()
        (draft / MANIFEST).write_bytes(manifest)
        for path in draft.iterdir():
            _sync(path)
        _sync(draft)
        saved = Saved(
            path=directory / f"{version:06d}-{content_hash[:16]}",
            version=version,
            content_hash=content_hash,
        )
        if _make_room(saved):
            draft.rename(saved.path)
    _sync(directory)
    return saved


def find(directory: Path, version: int, content_hash: str) -> Path:
    """Where `save` put this version with this hash; raises CheckpointMissing."""
    path = directory / f"{version:06d}-{content_hash[:16]}"
    if not path.is_dir():
        raise CheckpointMissing(
            f"{path} is not there: restore it, or point the trainer at the directory that holds it"
        )
    return path


def load(
    path: Path,
    expected_hash: str,
    *,
    config: OptimizerConfig,
    model: Callable[[Path], Policy] = Policy.load,
    with_optimizer: bool = True,
) -> Checkpoint:
    """Verify a checkpoint and load it; the next step is bit for bit that of the saved trainer.

    `model` makes a policy of its directory.
    With `with_optimizer=False` (rolling back to a version whose state was pruned) training starts
    from its bf16 weights with fresh moments. Raises CheckpointMissing or CheckpointCorrupt.
    """
    manifest = verify(path, expected_hash, with_optimizer=with_optimizer)
    policy = model(path)
    optimizer = MasterOptimizer(policy, config)
    if with_optimizer:
        try:
            optimizer.restore(load_file(path / OPTIMIZER))
        except (KeyError, ValueError) as error:
            raise CheckpointCorrupt(f"{path / OPTIMIZER} is not of this model: {error}") from error
    return Checkpoint(version=manifest["version"], policy=policy, optimizer=optimizer)


def load_critic(path: Path, critic: MasterOptimizer) -> bool:
    """Take over a critic's state from a checkpoint that was verified; false: it has none.

    Raises CheckpointCorrupt.
    """
    if not (path / CRITIC).is_file():
        return False
    try:
        critic.restore(load_file(path / CRITIC))
    except (KeyError, ValueError) as error:
        raise CheckpointCorrupt(f"{path / CRITIC} is not of this model: {error}") from error
    critic.publish()
    return True


def verify(path: Path, expected_hash: str, *, with_optimizer: bool = True) -> dict[str, Any]:
    """Check every file against its hash, and the manifest against `expected_hash`; returns it."""
    file = path / MANIFEST
    if not file.is_file():
        raise CheckpointMissing(f"{file} is not there: {path} is no whole checkpoint")
    content = file.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != expected_hash:
        raise CheckpointCorrupt(
            f"{file} has the hash {found}, wanted {expected_hash}: restore {path} from a copy"
        )
    manifest: dict[str, Any] = json.loads(content)
    for name, description in manifest["files"].items():
        if name in _STATE and not with_optimizer:
            continue
        if not (path / name).is_file():
            why = "it was pruned" if name in _STATE else "it was removed"
            raise CheckpointMissing(
                f"{path / name} is not there ({why}): load with with_optimizer=False to start "
                "from the bf16 weights, or restore it"
            )
        if _describe(path / name) != description:
            raise CheckpointCorrupt(f"{path / name} does not have its hash: restore it from a copy")
    return manifest


def prune(directory: Path, *, keep_optimizer: int = 2) -> list[Path]:
    """Remove the optimiser state of all but the last `keep_optimizer` versions, and half-written
    checkpoints; weights of every version stay. Returns what was removed.

    Call it after the version is committed: until then the one before it is the one to resume from.
    """
    if keep_optimizer < 1:
        raise ValueError(f"keep_optimizer is {keep_optimizer}: it must be at least 1")
    removed = []
    versions: dict[Path, int] = {}
    for path in sorted(directory.iterdir()):
        if path.name.startswith(_SAVING):
            shutil.rmtree(path)
            removed.append(path)
        elif name := _NAME.fullmatch(path.name):
            versions[path] = int(name[1])
    kept = sorted(set(versions.values()))[-keep_optimizer:]
    for path, version in versions.items():
        for state in (path / name for name in _STATE):
            if version not in kept and state.is_file():
                state.unlink()
                removed.append(state)
    return removed


def remove(directory: Path, version: int, content_hash: str) -> bool:
    """Delete a checkpoint; false: it is not there. A crash leaves it whole or to `prune`."""
    path = directory / f"{version:06d}-{content_hash[:16]}"
    if not path.is_dir():
        return False
    going = directory / f"{_SAVING}removed-{path.name}"
    path.rename(going)
    shutil.rmtree(going)
    return True


def forget_uncommitted(directory: Path, version: int) -> None:
    """Delete what a crash left of a version that was never committed."""
    for path in directory.glob(f"{version:06d}-*"):
        shutil.rmtree(path)


@contextmanager
def _room(directory: Path, version: int) -> Iterator[None]:
    """Raises NoSpace where the block fails for want of room on the disk."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        told = _OS_ERROR.search(str(error))
        number = error.errno if isinstance(error, OSError) else int(told[1]) if told else None
        if number not in _FULL:
            raise
        raise NoSpace(
            f"there is no room for the checkpoint of version {version} in {directory} ({error}): "
            "free some, then `headrace resume`; nothing half-written was left, and training goes "
            "on from the last version"
        ) from error


@contextmanager
def _temporary(directory: Path) -> Iterator[Path]:
    draft = Path(tempfile.mkdtemp(prefix=_SAVING, dir=directory))
    try:
        # mkdtemp gives 0700; engines may run as another user.
        draft.chmod(0o755)
        yield draft
    finally:
        if draft.exists():
            shutil.rmtree(draft)


def _make_room(saved: Saved) -> bool:
    """Whether the new files are needed: an equal, whole checkpoint stays, a damaged one goes."""
    if not saved.path.exists():
        return True
    try:
        verify(saved.path, saved.content_hash)
    except (CheckpointMissing, CheckpointCorrupt):
        shutil.rmtree(saved.path)
        return True
    return False


def _write_files(draft: Path, policy: Policy, optimizer: MasterOptimizer) -> None:
    weights = {
        name: parameter.detach().to(PUBLISHED_DTYPE).contiguous()
        for name, parameter in policy.parameters().items()
    }
    weights |= {name: value.detach().contiguous() for name, value in policy.buffers().items()}
    config = copy.deepcopy(policy.model.config)
    config.dtype = PUBLISHED_DTYPE
    config.save_pretrained(draft)
    if policy.model.generation_config is not None:
        policy.model.generation_config.save_pretrained(draft)
    if policy.source is not None:
        for name in _TOKENIZER_FILES:
            if (policy.source / name).is_file():
                shutil.copyfile(policy.source / name, draft / name)
    save_file(weights, draft / WEIGHTS, metadata={"format": "pt"})
    save_file(optimizer.state(), draft / OPTIMIZER)


def _describe(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "bytes": path.stat().st_size}


def _canonical(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, indent=1).encode()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
