"""The lines of the PPO update: each calls the tricks of one slot, in their order."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from workbench.trick import (
    AdvantageEstimator,
    AdvantageTransform,
    Aggregation,
    GradientTransform,
    Initialise,
    LogitTransform,
    OptimisationTransform,
    PolicyLoss,
    PolicyWeight,
    RatioTransform,
    Regulariser,
    RewardFunction,
    RewardTransform,
    RolloutAdvantageTransform,
    SamplingTransform,
    Schedule,
    ScoreTransform,
    Selection,
    Stopping,
    Trick,
    ValueLoss,
    ValueTarget,
    ValueTransform,
    ValueWeight,
    WeightSync,
)
from workbench.types import Draft, Evaluation, Optimisation, Rates, Rollout, Sampling

if TYPE_CHECKING:
    from workbench.models import Models
    from workbench.stages.prepare import Prepared

T = TypeVar("T", bound=Trick)


class UpdateLines:
    """What a PPO update asks of a set of tricks, in the order in which it asks.

    Attributes:
        tricks: in execution order, exactly one of each slot that cannot be empty.
    """

    tricks: tuple[Trick, ...]

    @property
    def needs(self) -> frozenset[str]:
        """What has to be computed beyond log-probabilities and scores: keys of `trick.NEEDS`."""
        return frozenset().union(*(trick.needs for trick in self.tricks))

    def has(self, slot: str) -> bool:
        """Say whether any trick fills a slot."""
        return any(trick.slot == slot for trick in self.tricks)

    @property
    def has_critic(self) -> bool:
        """Whether the critic's values are asked for; where they are not there is no critic."""
        return not self.needs.isdisjoint(("value", "end_value"))

    def initialise(self, models: "Models", prepared: "Prepared", seed: int) -> None:
        """Set the starting weights."""
        for trick in self._of(Initialise):
            if self.has_critic or not trick.is_of_critic:
                trick(models, prepared, seed)

    def optimisation(self, optimisation: Optimisation, buffer_size: int) -> Optimisation:
        """Return how a buffer is worked through, after every trick that changes it."""
        for trick in self._of(OptimisationTransform):
            optimisation = trick(optimisation, buffer_size)
        return optimisation

    def sampling(self, sampling: Sampling) -> Sampling:
        """Return the sampling settings after every sampling trick."""
        for trick in self._of(SamplingTransform):
            sampling = trick(sampling)
        return sampling

    def logits(self, logits: Tensor, draft: Draft) -> Tensor:
        """Change the logits [N, V] from which a token is drawn."""
        for trick in self._of(LogitTransform):
            logits = trick(logits, draft)
        return logits

    def reward_function(self, score: Tensor, rollout: Rollout) -> Tensor:
        """Change the reward model's score [B] before statistics are taken of it."""
        for trick in self._of(RewardFunction):
            score = trick(score, rollout)
        return score

    def observe(self, rollout: Rollout) -> None:
        """Let every trick move its running statistics; the only place where they move."""
        for trick in self.tricks:
            trick.observe(rollout)

    def score(self, score: Tensor, rollout: Rollout) -> Tensor:
        """Reparameterise the score [B]."""
        for trick in self._of(ScoreTransform):
            score = trick(score, rollout)
        return score

    def value(self, value: Tensor, mask: Tensor) -> Tensor:
        """Map the critic's raw output [B, T] to values."""
        for trick in self._of(ValueTransform):
            value = trick(value, mask)
        return value

    def reward(self, reward: Tensor, rollout: Rollout) -> Tensor:
        """Change the per-token reward [B, T]."""
        for trick in self._of(RewardTransform):
            reward = trick(reward, rollout)
        return reward

    def advantage_estimator(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Estimate advantage [B, T] and returns [B, T]."""
        return self._the(AdvantageEstimator)(rollout)

    def rollout_advantage(self, advantage: Tensor, rollout: Rollout) -> Tensor:
        """Change the advantages [B, T] of the whole rollout."""
        for trick in self._of(RolloutAdvantageTransform):
            advantage = trick(advantage, rollout)
        return advantage

    def selection(self, rollout: Rollout) -> Tensor:
        """Return the rows that the update learns from, as indices [b]; all of them if none is kept."""
        kept = torch.ones_like(rollout.group, dtype=torch.bool)
        for trick in self._of(Selection):
            kept = kept & trick(rollout)
        return (kept | ~kept.any()).nonzero().squeeze(1)

    def advantage(self, advantage: Tensor, mask: Tensor) -> Tensor:
        """Change the advantages [B, T] of one minibatch."""
        for trick in self._of(AdvantageTransform):
            advantage = trick(advantage, mask)
        return advantage

    def policy_loss(self, new: Evaluation, minibatch: Rollout, advantage: Tensor) -> Tensor:
        """Return the policy's loss, a scalar."""
        log_ratio = torch.where(minibatch.mask, new.log_prob - minibatch.log_prob, 0.0)
        for ratio in self._of(RatioTransform):
            log_ratio = ratio(log_ratio, new, minibatch)
        loss = self._the(PolicyLoss)(log_ratio, new, minibatch, advantage)
        for weight in self._of(PolicyWeight):
            loss = loss * weight(new, minibatch, advantage)
        return self._the(Aggregation)(loss, minibatch.mask)

    def value_loss(self, new: Evaluation, minibatch: Rollout) -> Tensor:
        """Return the critic's loss, a scalar; 0 where the advantages need no critic."""
        if "value" not in self.needs:
            return new.value.new_zeros(())
        value = new.value
        for target in self._of(ValueTarget):
            value, minibatch = target(new, minibatch)
        loss = self._the(ValueLoss)(value, minibatch)
        for weight in self._of(ValueWeight):
            loss = loss * weight(minibatch)
        return self._the(Aggregation)(loss, minibatch.mask)

    def regulariser(self, new: Evaluation, minibatch: Rollout) -> Tensor:
        """Return the sum of the regularising terms, a scalar."""
        terms = [trick(new, minibatch) for trick in self._of(Regulariser)]
        return torch.stack(terms).sum() if terms else new.log_prob.new_zeros(())

    def stops(self, new: Evaluation, minibatch: Rollout) -> bool:
        """Say whether to leave the rest of the buffer alone."""
        return any(bool(trick(new, minibatch)) for trick in self._of(Stopping))

    def gradient(
        self, policy: Sequence[Tensor], critic: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Change the gradients of policy and critic before the optimiser's step."""
        changed = list(policy), list(critic)
        if not policy and not critic:
            return changed
        for trick in self._of(GradientTransform):
            changed = trick(*changed)
        return changed

    def rates(self, iteration: int, iterations: int) -> Rates:
        """Return the factors on the learning rates at this iteration."""
        rates = Rates(policy=1.0, critic=1.0)
        for trick in self._of(Schedule):
            factor = trick(iteration, iterations)
            rates = Rates(rates.policy * factor.policy, rates.critic * factor.critic)
        return rates

    def stillness(self, iterations: int) -> str:
        """Say in a sentence that a run of so many iterations never moves the policy; "" if it does."""
        if any(self.rates(k, iterations).policy for k in range(iterations)):
            return ""
        held = ", ".join(trick.name for trick in self._of(Schedule))
        return f"the policy does not move in a run of {iterations} iterations, for {held} holds it still"

    def weight_sync(self, models: "Models", iteration: int) -> None:
        """Let slow copies of the policy follow it."""
        for trick in self._of(WeightSync):
            trick(models, iteration)

    def _of(self, kind: type[T]) -> Iterator[T]:
        return (trick for trick in self.tricks if isinstance(trick, kind))

    def _the(self, kind: type[T]) -> T:
        return next(self._of(kind))
