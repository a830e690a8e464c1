"""Settings of a trainer process."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from headrace.connectors.engines.arithmetic import Arithmetic, DtypeSetting, choose
from headrace.connectors.engines.policy import PolicySettings
from headrace.connectors.kafka import (
    KafkaAccess,
    KafkaConfig,
    PoisonSettings,
    RegistryAccess,
)
from headrace.connectors.settings import BadSettings, Fault, sections_from_environment
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.batch import PackingConfig
from headrace.trainer.choices import Attention, AttentionSetting
from headrace.trainer.critic import CriticConfig
from headrace.trainer.device import chosen, device_of
from headrace.trainer.errors import TrainerError
from headrace.trainer.optimizer import OptimizerConfig
from headrace.trainer.presets import PRESETS, contradictions
from headrace.trainer.schedules import LearningRate
from headrace.trainer.settings import (
    MAIN,
    CreditAsked,
    CriticSettings,
    TrainerSettings,
    bad_attention,
    bad_budget,
)
from headrace.trainer.trainable import IntakeConfig

CHECKPOINTS = "HEADRACE_CHECKPOINT_DIRECTORY"


@dataclass(kw_only=True, slots=True, frozen=True)
class TrainerConfig:
    """Everything a trainer needs to know."""

    kafka: KafkaConfig
    registry: RegistryAccess
    base_model: Path
    """Model directory that becomes version 0."""
    base_name: str
    """What version 0 is called in its record."""
    checkpoints: Path
    """Directory of the checkpoints; engines read the weights from there."""
    intake: IntakeConfig
    algorithm: AlgorithmConfig = field(default_factory=AlgorithmConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    learning_rate: LearningRate = field(default_factory=LearningRate)
    """What share of the optimiser's rate each version takes."""
    kl_reference: str = "base"
    """What the KL is taken to: `base`, `@VERSION`, or `-STEPS` before the one trained from."""
    critic: CriticConfig | None = None
    """Of an algorithm that has one."""
    packing: PackingConfig = field(default_factory=PackingConfig)
    dtype: DtypeSetting = "auto"
    """Number format of the arithmetic; the engine's must be the same."""
    device: str = "cpu"
    """A torch device."""
    attention: Attention = "dense"
    recompute: bool = False
    """Whether activations are calculated again for the gradient."""
    threads: int = 2
    max_versions: int = 0
    """Stop training (but keep accounting) at this version; 0: never."""
    annotate: float = 0.0
    """Share of the trained samples whose outcomes keep what the step saw of each token."""
    keep_versions: int = 0
    """How many of the last versions keep their weights; 0: all do."""
    keep_every: int = 0
    """Each version of such a number keeps them too; 0: none for that."""
    poison: PoisonSettings = field(default_factory=PoisonSettings)
    """How many records of a partition may be refused before the trainer halts."""
    heartbeat: Path | None = None
    """File that says what the trainer is doing; None: none."""

    @property
    def publishes(self) -> str:
        """Policy under which versions are published: a shadow trainer's is a policy of its own."""
        return _published(self.intake.policy, self.intake.trainer)

    @property
    def consumer_group(self) -> str:
        """Consumer group whose offsets tell how far the trainer is."""
        return f"headrace.trainer.{self.publishes}"

    @property
    def arithmetic(self) -> Arithmetic:
        """In what the step is calculated, and why."""
        return choose(self.dtype, device=device_of(self.device))

    def rate(self, version: int) -> float:
        """What share of the learning rate the step to a version takes: none while only the critic
        learns."""
        if self.critic is not None and version <= self.critic.warmup:
            return 0.0
        return self.learning_rate.share(version)

    def hash(self) -> str:
        """sha256 over what shapes the training (not over addresses and paths)."""
        shaping = {
            "intake": asdict(self.intake),
            "algorithm": asdict(self.algorithm),
            "optimizer": asdict(self.optimizer),
            "learning_rate": asdict(self.learning_rate),
            "kl_reference": self.kl_reference,
            "critic": None if self.critic is None else asdict(self.critic),
            "packing": asdict(self.packing),
            "attention": self.attention,
            "compute_dtype": self.arithmetic.dtype,
            "base": self.base_name,
        }
        return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()


SECTIONS: Mapping[str, type] = {
    "trainer": TrainerSettings,
    "critic": CriticSettings,
    "credit": CreditAsked,
    "policy": PolicySettings,
    "kafka": KafkaAccess,
    "registry": RegistryAccess,
    "streams": PoisonSettings,
}
"""What of the settings the trainer reads."""
WANTED = ("HEADRACE_KAFKA_BOOTSTRAP", "HEADRACE_REGISTRY_URL", "HEADRACE_POLICY_NAME")


def config_from_environment(
    model: Path, environment: Mapping[str, str] = os.environ
) -> TrainerConfig:
    """The configuration that `HEADRACE_*` variables describe.

    Raises:
        BadSettings: names each variable that cannot be used.
        TrainerError: a variable that `headrace up` sets is not there.
    """
    made = sections_from_environment(SECTIONS, environment, wanted=WANTED)
    own, policy = made["trainer"], made["policy"]
    if too_short := bad_budget(own.token_budget, policy.max_sequence):
        raise BadSettings([Fault("trainer", "token_budget", too_short)])
    baseline = made["credit"].baseline or PRESETS[own.algorithm].baseline
    if faults := [
        Fault(*one)
        for one in contradictions(own.algorithm, baseline, own.whiten, made["credit"].call)
    ]:
        raise BadSettings(faults)
    if not environment.get(CHECKPOINTS):
        raise TrainerError(f"{CHECKPOINTS} is not set: `headrace up` sets it")
    algorithm, device = _algorithm(own), chosen(own.device)
    attention = _attention(own.attention, device)
    run = environment.get("HEADRACE_RUN_DIRECTORY")
    return TrainerConfig(
        kafka=made["kafka"].client("headrace-trainer"),
        registry=made["registry"],
        base_model=model,
        base_name=environment.get("HEADRACE_POLICY_MODEL") or str(model),
        checkpoints=Path(environment[CHECKPOINTS]) / _published(policy.name, own.name),
        intake=IntakeConfig(
            policy=policy.name,
            trainer=own.name,
            rollouts_per_step=own.rollouts_per_step,
            max_staleness=own.max_staleness,
            max_held_bytes=own.max_held_bytes,
            stale=own.stale,
            baseline=baseline,
        ),
        algorithm=algorithm,
        optimizer=OptimizerConfig(
            lr=own.learning_rate,
            weight_decay=own.weight_decay,
            max_grad_norm=own.max_grad_norm,
        ),
        learning_rate=LearningRate(
            schedule=own.schedule,
            warmup=own.warmup_versions,
            versions=own.schedule_versions,
            end=own.schedule_end,
        ),
        packing=_packing(own, attention),
        dtype=policy.dtype,
        device=device,
        attention=attention,
        recompute=own.recompute,
        threads=own.threads,
        kl_reference=own.kl_reference,
        critic=_critic(made["critic"]) if algorithm.critic else None,
        max_versions=own.max_versions,
        annotate=own.annotate,
        keep_versions=own.keep_versions,
        keep_every=own.keep_every,
        poison=made["streams"],
        heartbeat=Path(run) / f"{environment.get('HEADRACE_PART') or 'trainer'}.json"
        if run
        else None,
    )


def _algorithm(own: TrainerSettings) -> AlgorithmConfig:
    return AlgorithmConfig(
        name=own.algorithm,
        row_loss=own.chosen("loss"),
        clip_low=own.chosen("clip_low"),
        clip_high=own.chosen("clip_high"),
        dual_clip=own.dual_clipped,
        aggregation=own.chosen("aggregation"),
        horizon=own.horizon,
        whiten=own.chosen("whiten"),
        critic=own.chosen("critic"),
        gae=own.gae,
        gamma=own.gamma,
        lam=own.lam,
        mask_truncated=own.chosen("mask_truncated"),
        correction=own.chosen("correction"),
        tis_cap=own.tis_cap,
        mis_bounds=(own.mis_low, own.mis_high),
        correction_level=own.correction_level,
        reject=own.reject,
        reject_bounds=own.reject_bounds,
        denominator=own.denominator,
        updates=own.updates,
        kl_coef=own.kl_coef,
        kl_kind=own.kl_kind,
    )


def _critic(own: CriticSettings) -> CriticConfig:
    optimizer = OptimizerConfig(lr=own.learning_rate, max_grad_norm=own.max_grad_norm)
    return CriticConfig(optimizer=optimizer, clip=own.clip, warmup=own.warmup)


def _attention(setting: AttentionSetting, device: str) -> Attention:
    if fault := bad_attention(setting, device):
        raise BadSettings([Fault("trainer", "attention", fault)])
    if setting == "auto":
        return "dense" if device == "cpu" else "flex"
    return setting


def _packing(own: TrainerSettings, attention: Attention) -> PackingConfig:
    config = PackingConfig(token_budget=own.token_budget, share_prefixes=own.share_prefixes)
    return config if attention == "dense" else replace(config, fill=own.token_budget)


def _published(policy: str, trainer: str) -> str:
    # No name holds a tilde: no policy is called like another's shadow.
    return policy if trainer == MAIN else f"{policy}~{trainer}"
