"""The models that a trainer begins with: from the base, or as a version left them."""

import logging
from functools import partial
from pathlib import Path

import torch

from headrace.schemas import PolicyVersion
from headrace.trainer import checkpoint
from headrace.trainer.config import TrainerConfig
from headrace.trainer.critic import Critic
from headrace.trainer.device import device_of
from headrace.trainer.optimizer import MasterOptimizer
from headrace.trainer.policy import Policy
from headrace.trainer.reference import Reference

logger = logging.getLogger(__name__)


def weights_of(config: TrainerConfig, last: PolicyVersion | None) -> tuple[Policy, MasterOptimizer]:
    """The weights that a start goes on from, with their optimiser state."""
    arithmetic = config.arithmetic
    logger.info(
        "the trainer calculates on %s in %s: %s",
        device_of(config.device),
        arithmetic.dtype,
        arithmetic.reason,
    )
    if last is None:
        policy = model_at(config, config.base_model)
        return policy, MasterOptimizer(policy, config.optimizer)
    return loaded(config, last, whole=True)


def model_at(config: TrainerConfig, path: Path) -> Policy:
    """The model of a directory, as this trainer calculates."""
    return Policy.load(
        path,
        compute_dtype=getattr(torch, config.arithmetic.dtype),
        device=device_of(config.device),
        attention=config.attention,
        recompute=config.recompute,
    )


def loaded(
    config: TrainerConfig, version: PolicyVersion, *, whole: bool = False
) -> tuple[Policy, MasterOptimizer]:
    """The weights of a version, and its optimiser state: `whole`, or where it was not pruned."""
    path = checkpoint.find(config.checkpoints, version.version, version.content_hash)
    whole = whole or (path / checkpoint.OPTIMIZER).exists()
    found = checkpoint.load(
        path,
        version.content_hash,
        config=config.optimizer,
        model=partial(model_at, config),
        with_optimizer=whole,
    )
    logger.info(
        "goes on from version %d of %s (%s)%s",
        version.version,
        config.publishes,
        path.name,
        "" if whole else ", with fresh moments: its optimiser state was pruned",
    )
    return found.policy, found.optimizer


def critic_of(config: TrainerConfig, version: PolicyVersion | None) -> Critic | None:
    """The critic as a version left it; begun from the base model where none has."""
    if config.critic is None:
        return None
    critic = Critic(model_at(config, config.base_model), config.critic)
    if version is not None:
        path = checkpoint.find(config.checkpoints, version.version, version.content_hash)
        if not checkpoint.load_critic(path, critic.optimizer):
            logger.warning("version %d has no critic: a new one is begun", version.version)
    return critic


def reference_of(config: TrainerConfig, version: PolicyVersion | None, base: str) -> Reference:
    """A version's weights, or the base model's."""
    if version is None:
        path, number, name = config.base_model, None, f"base {base}"
    else:
        path = checkpoint.find(config.checkpoints, version.version, version.content_hash)
        checkpoint.verify(path, version.content_hash, with_optimizer=False)
        number = version.version
        name = f"{version.policy}@{number} {version.weights_hash}"
    return Reference(policy=model_at(config, path), version=number, name=name)
