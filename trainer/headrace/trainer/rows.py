"""Credited samples as training rows."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from headrace.schemas import Sample, SampleCredit
from headrace.schemas.vocabulary import FinishReason
from headrace.trainer.batch import TrainingRow
from headrace.trainer.errors import RowError


def rows_of(
    credits: Iterable[SampleCredit],
    samples: Mapping[str, Sample],
    vocabulary: int,
    rewards: Mapping[str, float] = MappingProxyType({}),
) -> list[TrainingRow]:
    """One row for each of the samples that has a credit; `rewards`: what they earned, by id.

    Raises RowError for one that does not hold.
    """
    return [
        replace(
            row_of(credit, samples[credit.sample_id], vocabulary),
            turn=turn,
            reward=rewards.get(credit.sample_id, 0.0),
        )
        for turn, credit in enumerate(credits)  # of each episode in the order of its calls
        if credit.sample_id in samples
    ]


def row_of(credit: SampleCredit, sample: Sample, vocabulary: int) -> TrainingRow:
    """A sample and its credit as a row. Raises RowError where they do not hold."""
    weights = credit.token_weights
    try:
        prompt = np.frombuffer(sample.prompt_ids, dtype="<u4").astype(np.uint32)
        sampled = np.frombuffer(sample.sampled_ids, dtype="<u4").astype(np.uint32)
        logp = np.frombuffer(sample.logprobs, dtype="<f4").astype(np.float32)
        runs = list(zip(sample.run_versions, sample.run_lengths, strict=True))
        versions = np.repeat(np.array([v for v, _ in runs], np.int64), [n for _, n in runs])
        shares = None if weights is None else np.frombuffer(weights, "<f4").astype(np.float32)
    except ValueError as error:  # bytes cut short, runs that do not fit each other
        raise RowError(f"sample {sample.sample_id} has a broken column: {error}") from error
    if sample.prompt_base:
        raise RowError(
            f"sample {sample.sample_id} holds only what its prompt adds to call "
            f"{sample.prompt_base}: this trainer needs whole prompts"
        )
    top = max(prompt.max(initial=0), sampled.max(initial=0))
    if top >= vocabulary:
        raise RowError(
            f"sample {sample.sample_id} has token {top}, the model's vocabulary ends at "
            f"{vocabulary}: it was sampled from another model"
        )
    return TrainingRow(
        sample_id=sample.sample_id,
        episode_id=f"{sample.rollout_id}/{sample.attempt}",
        group_id=sample.group_id,
        prompt_ids=prompt,
        sampled_ids=sampled,
        behaviour_logp=logp,
        versions=versions,
        advantage=credit.advantage,
        temperature=sample.temperature,
        token_weights=shares,
        agent=credit.agent,
        truncated=sample.finish_reason == FinishReason.LENGTH,
    )
