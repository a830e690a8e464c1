"""What runs inside vLLM's workers: weights put in from a folder, whole or not at all.

vLLM imports this module because its command line names `FolderWorker` as the worker extension.
Written for vLLM 0.32.
"""

import os
from dataclasses import dataclass
from pathlib import Path

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
class FolderInit(WeightTransferInitInfo):
    """Nothing: the root comes from the environment, which no client of the server can change."""


@dataclass
class FolderUpdate(WeightTransferUpdateInfo):
    """Which weights to take."""

    path: str = ""
    """A folder with the whole weights as safetensors, inside the root."""


class FolderWeights(WeightTransferEngine[FolderInit, FolderUpdate]):
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
        directory = inside(Path(update_info.path), Path(os.environ[ROOT_VARIABLE]))
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


class FolderWorker:
    """The worker extension: it adds no method; its module registers the backend."""


def _read(directory: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = {}
    for path in weight_files(directory):
        try:
            weights |= load_file(path)
        except (OSError, SafetensorError) as error:
            raise InvalidWeights(f"Cannot read {path}: {error}") from error
    return weights


WeightTransferEngineFactory.register_engine(BACKEND, FolderWeights)
