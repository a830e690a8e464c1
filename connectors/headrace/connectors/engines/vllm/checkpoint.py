"""What a folder of safetensors holds, read from the headers alone. Imports no torch."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from headrace.connectors.engines.errors import InvalidWeights

Shapes = Mapping[str, tuple[int, ...]]
"""Shape of each tensor by its name."""
_LONGEST_HEADER = 100_000_000
"""Bytes; what the safetensors library allows."""
_HEAD = "lm_head.weight"


def weight_files(directory: Path) -> tuple[Path, ...]:
    """The `*.safetensors` of a folder, in order of their names.

    Raises:
        InvalidWeights: there are none.
    """
    files = tuple(sorted(directory.glob("*.safetensors"))) if directory.is_dir() else ()
    if not files:
        raise InvalidWeights(
            f"{directory} holds no model.safetensors: a policy version's directory holds its whole "
            "weights"
        )
    return files


def shapes_in(directory: Path) -> Shapes:
    """Names and shapes of a folder's tensors; every file is as long as its header says.

    Raises:
        InvalidWeights: there is no file, or one is damaged.
    """
    found: dict[str, tuple[int, ...]] = {}
    for path in weight_files(directory):
        try:
            found |= _shapes_of(path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidWeights(f"Cannot read {path}: {error}") from error
    return found


def check_fits(directory: Path, model: Path) -> None:
    """Raise InvalidWeights unless a folder holds weights of the same model as another folder.

    A tied output layer may be written or left out.
    """
    given, expected = dict(shapes_in(directory)), dict(shapes_in(model))
    if _is_tied(model):
        given.pop(_HEAD, None)
        expected.pop(_HEAD, None)
    for what, names in (
        ("lacks", expected.keys() - given.keys()),
        ("has, unlike the model,", given.keys() - expected.keys()),
    ):
        if names:
            raise InvalidWeights(
                f"{directory} {what} {_some(names)}: is it an adapter or another model?"
            )
    for name, shape in expected.items():
        if given[name] != shape:
            raise InvalidWeights(
                f"{name} is {list(given[name])} in {directory} and {list(shape)} in the model: is "
                "it another model?"
            )


def inside(directory: Path, roots: Iterable[Path]) -> Path:
    """The directory, resolved.

    Raises:
        InvalidWeights: it lies in none of the roots, links followed.
    """
    resolved, allowed = directory.resolve(), [root.resolve() for root in roots]
    if not any(resolved.is_relative_to(root) for root in allowed):
        raise InvalidWeights(
            f"{directory} lies outside {' and '.join(map(str, allowed))}, where weights may be "
            "loaded from"
        )
    return resolved


def _shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= _LONGEST_HEADER:
            raise ValueError(f"its header would be {length} bytes long")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    end = 8 + length + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    if path.stat().st_size != end:
        raise ValueError(f"it is {path.stat().st_size} bytes long, and its header says {end}")
    return {name: tuple(tensor["shape"]) for name, tensor in header.items()}


def _is_tied(model: Path) -> bool:
    try:
        config = json.loads((model / "config.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("tie_word_embeddings") is True


def _some(names: set[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")
