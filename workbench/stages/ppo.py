"""Stage 4: proximal policy optimisation. The textbook; every trick is in the recipe."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim import AdamW

from workbench.experience import Experience, score
from workbench.maths import at_last_token
from workbench.models import Models, evaluate
from workbench.monitors import Stopwatch, update_statistics
from workbench.recipe import Recipe
from workbench.sampling import sample, uniform
from workbench.seeding import generator
from workbench.settings import PpoSettings
from workbench.stages.supervised import language_batch
from workbench.tasks.base import Tokens
from workbench.types import Rates, Rollout, Sampling


@dataclass
class Ppo:
    """Everything that one run of PPO holds on to.

    Attributes:
        models: policy, critic, reference, reward model.
        recipe: the tricks, with fresh state.
        settings: what PPO does besides its tricks.
        optimiser: one Adam with two groups of parameters, policy and critic.
        accelerator: device and precision.
        pretraining: texts for PPO-ptx.
        eos: end-of-sequence token.
        pad: padding token.
        seed: seed of samples, minibatches and pre-training batches.
    """

    models: Models
    recipe: Recipe
    settings: PpoSettings
    optimiser: AdamW
    accelerator: Accelerator
    pretraining: Sequence[Tokens]
    eos: int
    pad: int
    seed: int
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    def iteration(self, k: int, prompts: Sequence[Tokens]) -> list[Experience]:
        """Respond to every prompt and learn from the responses, one buffer after the other."""
        sampling = self.recipe.sampling(self.sampling(len(prompts)))
        rates = self.recipe.rates(k, self.settings.iterations)
        noise = uniform(sampling, len(prompts), self.seed, k, 0, "sampling")
        experiences = []
        for first in range(0, len(prompts), sampling.buffer_size):
            buffer = slice(first, first + sampling.buffer_size)
            experience = self.roll_out(prompts[buffer], sampling, noise[:, buffer])
            self.reward(experience.rollout)
            self.update(experience, rates, (self.seed, k, first))
            experiences.append(experience)
        return experiences

    @torch.no_grad()
    def roll_out(self, prompts: Sequence[Tokens], sampling: Sampling, noise: Tensor) -> Experience:
        """Sample responses; collect log π_old, log π_ref, V_old and the reward model's score."""
        models = self.models
        with self.accelerator.autocast(), self.stopwatch("sampling"):
            samples = sample(models.policy, prompts, sampling, eos=self.eos, pad=self.pad, noise=noise)
        with self.accelerator.autocast(), self.stopwatch("scoring"):
            return score(models, samples, sampling.temperature)

    @torch.no_grad()
    def reward(self, rollout: Rollout) -> None:
        """Turn scores into rewards per token, and those into advantages and returns."""
        recipe = self.recipe
        recipe.observe(rollout)
        rollout.score = recipe.score(rollout.score, rollout)
        rollout.reward = recipe.reward(at_last_token(rollout.score, rollout.mask), rollout)
        rollout.advantage, rollout.returns = recipe.advantage_estimator(rollout)

    def update(self, experience: Experience, rates: Rates, stream: tuple[int, ...]) -> None:
        """Take an optimiser step on every minibatch of the buffer."""
        models, recipe = self.models, self.recipe
        with self.stopwatch("update"):
            for number, minibatch in enumerate(self.minibatches(experience.rollout, stream)):
                with self.accelerator.autocast():
                    ptx = self.pretraining_batch(len(minibatch.score), (*stream, number))
                    new = evaluate(models, minibatch, self.settings.temperature, recipe.needs, ptx)
                advantage = recipe.advantage(minibatch.advantage, minibatch.mask)
                policy_loss = recipe.policy_loss(new, minibatch, advantage)
                value_loss = recipe.value_loss(new.value, minibatch)
                regulariser = recipe.regulariser(new, minibatch)
                self.accelerator.backward(policy_loss + value_loss + regulariser)
                losses = (policy_loss, value_loss, regulariser)
                experience.updates.append(update_statistics(models, new, minibatch, losses))
                self.step(rates)

    def step(self, rates: Rates) -> None:
        """Change the gradients as the recipe says and take one optimiser step."""
        for group, rate in zip(self.optimiser.param_groups, (rates.policy, rates.critic), strict=True):
            group["lr"] = group["initial_lr"] * rate
            if rate == 0:  # frozen: neither its weights nor its moments move
                for parameter in group["params"]:
                    parameter.grad = None
        moving = [p for p in self.models.trained() if p.grad is not None]
        gradients = self.recipe.gradient([p.grad for p in moving if p.grad is not None])
        for parameter, gradient in zip(moving, gradients, strict=True):
            parameter.grad = gradient
        self.optimiser.step()
        self.optimiser.zero_grad()

    def minibatches(self, rollout: Rollout, stream: tuple[int, ...]) -> Iterator[Rollout]:
        """Yield minibatches, shuffled anew in every epoch."""
        size = self.settings.minibatch_size
        for epoch in range(self.settings.epochs):
            order = torch.randperm(
                len(rollout.score), generator=generator(*stream, epoch, "minibatches")
            )
            for index in torch.split(order.to(rollout.score.device), size):
                yield rollout.rows(index)

    def pretraining_batch(self, size: int, stream: tuple[int, ...]) -> tuple[Tensor, Tensor] | None:
        """Draw pre-training sequences as tokens and mask, if a trick of the recipe needs them."""
        if "pretraining_loss" not in self.recipe.needs:
            return None
        draw = torch.randint(len(self.pretraining), (size,), generator=generator(*stream, "ptx"))
        texts = [self.pretraining[i] for i in draw.tolist()]
        tokens, mask = language_batch(texts, [1] * size, self.pad)
        return tokens.to(self.accelerator.device), mask.to(self.accelerator.device)

    def sampling(self, responses: int) -> Sampling:
        """Return the sampling settings before any trick: one buffer for all responses."""
        return Sampling(self.settings.temperature, self.settings.max_response_tokens, responses)


def make_optimiser(models: Models, settings: PpoSettings) -> AdamW:
    """Make one Adam (β = 0.9, 0.999, ε = 1e-8, no weight decay) with groups for policy and critic."""
    rates = (settings.policy_learning_rate, settings.critic_learning_rate)
    groups = [
        {"params": list(model.parameters()), "lr": rate, "initial_lr": rate}
        for model, rate in zip((models.policy, models.critic), rates, strict=True)
    ]
    return AdamW(groups, weight_decay=0.0, fused=True)
