"""One step: packs forward and backward, then AdamW; several times where the algorithm says so."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from headrace.kernels import linear_logp, linear_policy_loss
from headrace.trainer.advantages import advantages_of
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.batch import Batch, Pack
from headrace.trainer.columns import Scores, Tokens, by_row, joined, of_pack, tokens_of
from headrace.trainer.corrections import call_weights, kept
from headrace.trainer.critic import Critic
from headrace.trainer.errors import NonFiniteStep
from headrace.trainer.gather import gather_rows
from headrace.trainer.measures import Seen, StepResult, result_of
from headrace.trainer.optimizer import MasterOptimizer
from headrace.trainer.policy import Policy


class TrainStep:
    """Takes steps on a policy."""

    def __init__(
        self,
        policy: Policy,
        optimizer: MasterOptimizer,
        *,
        reference: Policy | None = None,
        critic: Critic | None = None,
    ) -> None:
        self.policy = policy
        self.optimizer = optimizer
        self.reference = reference
        """Needed when the algorithm's kl_coef is above 0."""
        self.critic = critic
        """Needed when the algorithm has one."""

    def run(
        self,
        batch: Batch,
        algorithm: AlgorithmConfig,
        *,
        version: int,
        episodes: int | None = None,
        own_samples: bool = True,
        rate: float = 1.0,
        annotate: float = 0.0,
    ) -> StepResult:
        """Train on a batch with the weights of `version`; afterwards they are those of the next.

        With `own_samples=False` versions are another trainer's: `version` is the newest of them,
        from which staleness counts, and no token tells of a gap to this policy.

        `episodes` is the number of episodes the batch stands for (see `token_weights`), `rate` the
        share of the learning rate to take, `annotate` that of the samples of which the result keeps
        what was seen of each token. Raises NonFiniteStep when loss or gradient is not
        finite: the weights are those after the last update that was. The critic, if there is one,
        learns with it, at its own rate.
        """
        if algorithm.kl_coef > 0.0 and self.reference is None:
            raise ValueError("kl_coef is above 0: give TrainStep a reference policy")
        if algorithm.critic and self.critic is None:
            raise ValueError(f"{algorithm.name} has a critic: give TrainStep one")
        critic = self.critic if algorithm.critic else None
        device = self.policy.device
        weights = algorithm.token_weights(batch.rows, episodes=episodes)
        tokens = [tokens_of(pack, batch, device) for pack in batch.packs]
        proximal, rejected = None, 0.0
        if algorithm.scores_first:
            proximal = [
                self._scores(pack, one) for pack, one in zip(batch.packs, tokens, strict=True)
            ]
            weights, rejected = _corrected(batch, tokens, proximal, weights, algorithm)
        values = None if critic is None else critic.values_by_row(batch)
        estimates = advantages_of(
            batch.rows, weights, algorithm, self._penalties(batch, proximal, algorithm), values
        )
        columns = [
            (of_pack(pack, weights, device), of_pack(pack, estimates.advantages, device))
            for pack in batch.packs
        ]
        self.optimizer.discard()
        first: list[Scores] = []
        norms, total, more = [], 0.0, {}
        for _ in range(algorithm.updates):
            losses, scores = self._update(batch, tokens, columns, proximal, algorithm)
            first = first or scores
            norm = self.optimizer.norm()
            # The one wait for the device in an update, here and in the metrics after all of them.
            found, *told = torch.stack([norm, *losses]).tolist()
            self._refuse_non_finite(batch, told)
            self.optimizer.refuse_non_finite(found)
            if critic is not None and values is not None and estimates.returns is not None:
                more = critic.update(batch, values, estimates.returns).metrics()
            self.optimizer.move(norm, rate)
            norms.append(found)
            total = sum(told)
        seen = Seen(
            tokens=joined(Tokens, tokens),
            before=joined(Scores, first),
            last=joined(Scores, scores),
            token_weights=torch.cat([column for column, _ in columns]),
            advantages=torch.cat([column for _, column in columns]),
            proximal_logp=torch.cat([one.logp for one in proximal])
            if proximal is not None and algorithm.takes_proximal
            else None,
            rejected=rejected,
            loss=total,
            grad_norms=tuple(norms),
            most_norm=self.optimizer.config.max_grad_norm,
        )
        return result_of(
            batch,
            seen,
            algorithm,
            version=version,
            own_samples=own_samples,
            more=more,
            annotate=annotate,
        )

    def _update(
        self,
        batch: Batch,
        tokens: Sequence[Tokens],
        columns: Sequence[tuple[Tensor, Tensor]],
        proximal: Sequence[Scores] | None,
        algorithm: AlgorithmConfig,
    ) -> tuple[list[Tensor], list[Scores]]:
        """Accumulate the gradients of a batch; the packs' losses, 0-d, and what the policy makes of
        them."""
        losses, scores = [], []
        for index, pack in enumerate(batch.packs):
            known = None if proximal is None else proximal[index]
            loss, scored = self._backward(pack, tokens[index], columns[index], known, algorithm)
            self.optimizer.accumulate()
            losses.append(loss.float())
            scores.append(scored)
        return losses, scores

    def _refuse_non_finite(self, batch: Batch, losses: Sequence[float]) -> None:
        for pack, loss in zip(batch.packs, losses, strict=True):
            if not np.isfinite(loss):
                self.optimizer.discard()
                samples = ", ".join(batch.rows[row].sample_id for row in pack.rows[:3])
                raise NonFiniteStep(
                    f"the loss is {loss} in a pack of {len(pack.rows)} rows ({samples}, …): no "
                    "step was taken. Look at the policy's weights and the rows' log-probabilities"
                )

    def _backward(
        self,
        pack: Pack,
        tokens: Tokens,
        columns: tuple[Tensor, Tensor],
        proximal: Scores | None,
        algorithm: AlgorithmConfig,
    ) -> tuple[Tensor, Scores]:
        """Loss of a pack; its gradients are left on the policy's parameters, the head's part of
        them in the optimiser's sum."""
        sources = torch.from_numpy(pack.sources).to(self.policy.device)
        reference_logp = None if proximal is None else proximal.reference_logp
        if reference_logp is None and algorithm.kl_coef > 0.0:
            reference_logp = self._reference_logp(pack, sources, tokens)
        taken = proximal is not None and algorithm.takes_proximal
        token_weights, advantages = columns
        out = linear_policy_loss(
            gather_rows(self.policy.hidden_states(pack), sources),
            self.policy.head,
            tokens.targets,
            advantages=advantages,
            behaviour_logp=tokens.behaviour_logp,
            token_weights=token_weights,
            temperature=tokens.temperature,
            loss=algorithm.loss(),
            reference_logp=reference_logp,
            proximal_logp=proximal.logp if proximal is not None and taken else None,
            cu_seqlens=tokens.bounds,
            main_grad=self.optimizer.gradient_sum(self.policy.head),
        )
        out.loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        return out.loss.detach(), Scores(
            logp=out.logp, entropy=out.entropy, reference_logp=reference_logp
        )

    @torch.no_grad()
    def _scores(self, pack: Pack, tokens: Tokens) -> Scores:
        """What the policy makes of a pack before the step: it is the proximal policy."""
        sources = torch.from_numpy(pack.sources).to(self.policy.device)
        out = linear_logp(
            self.policy.hidden_states(pack).index_select(0, sources),
            self.policy.head,
            tokens.targets,
            temperature=tokens.temperature,
        )
        reference_logp = None
        if self.reference is not None:
            reference_logp = self._reference_logp(pack, sources, tokens)
        return Scores(logp=out.logp, entropy=out.entropy, reference_logp=reference_logp)

    @torch.no_grad()
    def _reference_logp(self, pack: Pack, sources: Tensor, tokens: Tokens) -> Tensor:
        assert self.reference is not None
        hidden = self.reference.hidden_states(pack).index_select(0, sources)
        return linear_logp(
            hidden, self.reference.head, tokens.targets, temperature=tokens.temperature
        ).logp

    def _penalties(
        self, batch: Batch, proximal: Sequence[Scores] | None, algorithm: AlgorithmConfig
    ) -> list[Tensor] | None:
        """What each token's reward loses by its KL to the reference, row by row; None: nothing."""
        if proximal is None or not algorithm.kl_in_reward:
            return None
        lost = []
        for one in proximal:
            assert one.reference_logp is not None
            lost.append(-algorithm.kl_coef * (one.logp - one.reference_logp))
        return by_row(batch, lost)


def _corrected(
    batch: Batch,
    tokens: Sequence[Tokens],
    proximal: Sequence[Scores],
    weights: Sequence[Tensor],
    algorithm: AlgorithmConfig,
) -> tuple[list[Tensor], float]:
    """Token weights after corrections and rejections of whole calls, and the share rejected."""
    stay, factor = [], []
    for known, one in zip(proximal, tokens, strict=True):
        pair = (known.logp, one.behaviour_logp, one.bounds)
        stay.append(kept(*pair, algorithm).float())
        factor.append(call_weights(*pair, algorithm)[1])
    # Rows that are not read have no part in the gradient; they were not rejected.
    kept_rows, factors = (by_row(batch, each, absent=1.0) for each in (stay, factor))
    whole = float(sum(one.sum() for one in weights))
    after = [one * keep for one, keep in zip(weights, kept_rows, strict=True)]
    left = float(sum(one.sum() for one in after))
    scale = whole / left if algorithm.denominator == "after" and left > 0.0 else 1.0
    active = sum(int((one != 0).sum()) for one in weights)
    still = sum(int((one != 0).sum()) for one in after)
    corrected = [one * by * scale for one, by in zip(after, factors, strict=True)]
    return corrected, 1.0 - still / max(1, active)
