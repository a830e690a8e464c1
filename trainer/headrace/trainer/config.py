"""Settings of a trainer process."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from headrace.connectors.engines.arithmetic import (
    Arithmetic,
    DtypeSetting,
    choose,
    parse_setting,
)
from headrace.connectors.kafka import KafkaConfig
from headrace.trainer.algorithms import GrpoConfig
from headrace.trainer.batch import PackingConfig
from headrace.trainer.errors import TrainerError
from headrace.trainer.intake import IntakeConfig
from headrace.trainer.optimizer import OptimizerConfig

MAIN = "main"
"""Name of the trainer whose versions are served."""


@dataclass(kw_only=True, slots=True, frozen=True)
class TrainerConfig:
    """Everything a trainer needs to know."""

    kafka: KafkaConfig
    registry_url: str
    base_model: Path
    """Model directory that becomes version 0."""
    base_name: str
    """What version 0 is called in its record."""
    checkpoints: Path
    """Directory of the checkpoints; engines read the weights from there."""
    intake: IntakeConfig
    algorithm: GrpoConfig = field(default_factory=GrpoConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    packing: PackingConfig = field(default_factory=PackingConfig)
    dtype: DtypeSetting = "auto"
    """Number format of the arithmetic; the engine's must be the same."""
    device: str = "cpu"
    threads: int = 2
    max_versions: int = 0
    """Stop training (but keep accounting) after this version; 0: never."""
    heartbeat: Path | None = None
    """File that tells what the trainer is doing; None: none."""

    @property
    def publishes(self) -> str:
        """Policy under which versions are published: a shadow trainer's is a policy of its own."""
        return _published(self.intake.policy, self.intake.trainer)

    @property
    def arithmetic(self) -> Arithmetic:
        """In what the step is calculated, and why."""
        return choose(self.dtype, device=self.device)

    def hash(self) -> str:
        """sha256 over what shapes the training (not over addresses and paths)."""
        shaping = {
            "intake": asdict(self.intake),
            "algorithm": asdict(self.algorithm),
            "optimizer": asdict(self.optimizer),
            "compute_dtype": self.arithmetic.dtype,
            "base": self.base_name,
        }
        return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()


def config_from_environment(
    model: Path, environment: Mapping[str, str] = os.environ
) -> TrainerConfig:
    """The configuration that `HEADRACE_*` variables describe; raises TrainerError if one lacks."""

    def get(name: str, default: str | None = None) -> str:
        value = environment.get(f"HEADRACE_{name}", default)
        if value is None:
            raise TrainerError(f"HEADRACE_{name} is not set: `headrace up` sets it")
        return value

    def number(name: str, default: int) -> int:
        return int(_number(int, name, get(name, str(default))))

    run = environment.get("HEADRACE_RUN_DIRECTORY")
    group_size = number("TRAINER_GROUP_SIZE", 8)
    policy, trainer = get("POLICY_NAME"), get("TRAINER_NAME", MAIN)
    rate = _number(float, "TRAINER_LEARNING_RATE", get("TRAINER_LEARNING_RATE", "1e-5"))
    try:
        dtype = parse_setting(get("POLICY_DTYPE", "auto"))
    except ValueError as error:
        raise TrainerError(str(error)) from error
    return TrainerConfig(
        kafka=KafkaConfig(bootstrap=get("KAFKA_BOOTSTRAP"), client_id="headrace-trainer"),
        registry_url=get("REGISTRY_URL"),
        base_model=model,
        base_name=get("POLICY_MODEL", str(model)),
        checkpoints=Path(get("CHECKPOINT_DIRECTORY")) / _published(policy, trainer),
        intake=IntakeConfig(
            policy=policy,
            trainer=trainer,
            rollouts_per_step=group_size * number("TRAINER_GROUPS_PER_STEP", 6),
            max_staleness=number("TRAINER_MAX_STALENESS", 1),
        ),
        algorithm=GrpoConfig(horizon=number("TRAINER_HORIZON", 16)),
        optimizer=OptimizerConfig(lr=rate),
        dtype=dtype,
        threads=number("TRAINER_THREADS", 2),
        max_versions=number("TRAINER_MAX_VERSIONS", 0),
        heartbeat=Path(run) / "trainer.json" if run else None,
    )


def _published(policy: str, trainer: str) -> str:
    return policy if trainer == MAIN else f"{policy}.{trainer}"


def _number(kind: type[int] | type[float], name: str, text: str) -> float:
    try:
        return kind(text)
    except ValueError as error:
        raise TrainerError(f"HEADRACE_{name} is {text!r}: give a number") from error
