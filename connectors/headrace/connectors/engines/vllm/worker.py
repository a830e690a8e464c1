"""What runs inside vLLM's workers: weights put in from a folder, whole or not at all.

vLLM imports this module because its command line names `FolderWorker` as the worker extension.
Written for vLLM 0.32.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.model_executor.model_loader.reload.layerwise import (
    finalize_layerwise_reload,
    initialize_layerwise_reload,
)

from headrace.connectors.engines.errors import InvalidWeights
from headrace.connectors.engines.vllm.checkpoint import check_fits, inside, weight_files
from headrace.connectors.engines.vllm.names import BACKEND, BROKEN, ROOT_VARIABLE


@dataclass
class FolderInit(WeightTransferInitInfo):  # type: ignore[misc]  # vLLM is not installed here
    """Nothing: the root comes from the environment, which no client of the server can change."""


@dataclass
class FolderUpdate(WeightTransferUpdateInfo):  # type: ignore[misc]  # likewise
    """Which weights to take."""

    path: str = ""
    """A folder with the whole weights as safetensors, inside the root."""


class FolderWeights(WeightTransferEngine):  # type: ignore[misc]  # likewise
    """Takes the weights of a folder.

    Everything that can be wrong with a folder is found before the model is touched. If the model
    fails on it all the same, the weights it had are put back; if that fails too, it says so with
    `BROKEN`.
    """

    init_info_cls, update_info_cls = FolderInit, FolderUpdate
    supports_draft_weight_update = False
    _held: Path | None = None

    def init_transfer_engine(self, init_info: FolderInit) -> None:
        """Nothing is to be connected."""

    def start_weight_update(self) -> None:
        """Nothing: the model is touched once the folder is known to be good."""

    def finish_weight_update(self) -> None:
        """Nothing: `receive_weights` has done it whole."""

    def receive_weights(self, update_info: FolderUpdate) -> None:
        """Put the weights of a folder into the model.

        Raises:
            InvalidWeights: the folder is outside the root, damaged, or of another model; the model
                is as before.
            RuntimeError: the model is broken: neither new nor old weights could be put in.
        """
        model = Path(self.model_config.model)
        roots = [model, *map(Path, filter(None, os.environ[ROOT_VARIABLE].split(os.pathsep)))]
        directory = inside(Path(update_info.path), roots)
        check_fits(directory, model)
        weights = _read(directory)
        held = self._held or model
        try:
            self._apply(weights)
        except Exception as error:
            try:
                self._apply(_read(held))
            except Exception as again:
                raise RuntimeError(f"{BROKEN}: {error}; and the old weights: {again}") from error
            raise InvalidWeights(f"The model refuses {directory}: {error}") from error
        self._held = directory

    def shutdown(self) -> None:
        """Nothing is held open."""

    def _apply(self, weights: dict[str, torch.Tensor]) -> None:
        initialize_layerwise_reload(self.model)
        self.model.load_weights(list(weights.items()))
        finalize_layerwise_reload(self.model, self.model_config)
        _pack_tied(self.model)


class FolderWorker:
    """The worker extension: it adds no method; its module registers the backend."""


def _pack_tied(model: torch.nn.Module) -> None:
    """Pack tied weights again where a CPU's products read a packed copy of them.

    A reload packs the module that the weights were loaded into (the embedding). The other one (the
    output layer) has the new weights then, but goes on multiplying with its copy of the old ones.
    """
    owners: dict[int, list[torch.nn.Module]] = {}
    for module in model.modules():
        weight = module._parameters.get("weight")
        if weight is not None:
            owners.setdefault(id(weight), []).append(module)
    for modules in owners.values():
        for module in modules if len(modules) > 1 else ():
            if hasattr(module, "cpu_linear"):
                packing: Any = module.quant_method
                packing.process_weights_after_loading(module)


def _read(directory: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = {}
    for path in weight_files(directory):
        try:
            weights |= load_file(path)
        except (OSError, SafetensorError) as error:
            raise InvalidWeights(f"Cannot read {path}: {error}") from error
    return weights


WeightTransferEngineFactory.register_engine(BACKEND, FolderWeights)
