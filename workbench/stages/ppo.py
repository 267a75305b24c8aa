"""Stage 4: proximal policy optimisation. The textbook; every trick is in the recipe."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim import AdamW

from workbench.experience import Experience, assemble, make_experience, minibatches, rival_scores
from workbench.forward import at_end, evaluate
from workbench.maths import at_last_token
from workbench.models import Models
from workbench.monitors import Stopwatch, update_statistics
from workbench.optimiser import take_step, trained
from workbench.parallel import Share, sum_gradients
from workbench.recipe import Recipe
from workbench.sampling import sample, uniform
from workbench.seeding import derive, generator
from workbench.settings import PpoSettings
from workbench.stages.supervised import draw_texts
from workbench.tasks.base import Task, Tokens
from workbench.textbook import textbook_optimisation, textbook_sampling
from workbench.types import Evaluation, Rates, Rollout, Sampling


@dataclass
class Ppo:
    """Everything that one run of PPO holds on to.

    Attributes:
        models: policy, critic, reference, reward model, and the slow copies that tricks keep.
        recipe: the tricks, with fresh state.
        settings: what PPO does besides its tricks.
        optimiser: one Adam with two groups of parameters, policy and critic.
        accelerator: device and precision.
        task: whose own responses some tricks compare with.
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
    task: Task
    pretraining: Sequence[Tokens]
    eos: int
    pad: int
    seed: int
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    def iteration(self, k: int, prompts: Sequence[Tokens]) -> list[Experience]:
        """Respond to prompts and learn from the responses, one buffer after the other."""
        sampling = self.recipe.sampling(textbook_sampling(self.settings, len(prompts)))
        rates = self.recipe.rates(k, self.settings.iterations)
        repeats = sampling.responses_per_prompt
        asked = [prompt for prompt in prompts[: len(prompts) // repeats] for _ in range(repeats)]
        noise = uniform(sampling, len(asked), self.seed, k, 0, "sampling")
        experiences = []
        for first in range(0, len(asked), sampling.buffer_size):
            buffer = slice(first, first + sampling.buffer_size)
            experience = self.roll_out(asked[buffer], sampling, noise[:, buffer])
            self.reward(experience.rollout)
            self.update(experience, sampling, rates, (self.seed, k, first))
            experiences.append(experience)
        self.recipe.weight_sync(self.models, k)
        return experiences

    @torch.no_grad()
    def roll_out(self, prompts: Sequence[Tokens], sampling: Sampling, noise: Tensor) -> Experience:
        """Sample responses; collect log π_old, log π_ref, V_old and the reward model's score."""
        models, recipe, share = self.models, self.recipe, Share.of(len(prompts))
        prompts, noise = prompts[share.rows], noise[:, share.rows]
        with self.accelerator.autocast(), self.stopwatch("sampling"):
            samples = sample(
                models.policy, prompts, sampling, eos=self.eos, pad=self.pad, noise=noise,
                restrict=recipe.logits if recipe.has("logits") else None, guide=models.guide,
            )  # fmt: skip
        with self.accelerator.autocast(), self.stopwatch("scoring"):
            rivals = rival_scores(
                models, recipe, self.task, prompts, sampling, eos=self.eos, pad=self.pad
            )
            mine = make_experience(models, recipe, samples, sampling, rivals)
            return assemble(mine, share, sampling, pad=self.pad)

    @torch.no_grad()
    def reward(self, rollout: Rollout) -> None:
        """Turn scores into rewards per token, and those into advantages and returns."""
        recipe = self.recipe
        rollout.score = recipe.reward_function(rollout.score, rollout)
        recipe.observe(rollout)
        rollout.value = recipe.value(rollout.value, rollout.mask)
        rollout.end_value = at_end(recipe, rollout.end_value)
        rollout.score = recipe.score(rollout.score, rollout)
        rollout.reward = recipe.reward(at_last_token(rollout.score, rollout.mask), rollout)
        rollout.advantage, rollout.returns = recipe.advantage_estimator(rollout)
        rollout.advantage = recipe.rollout_advantage(rollout.advantage, rollout)

    def update(
        self, experience: Experience, sampling: Sampling, rates: Rates, stream: tuple[int, ...]
    ) -> None:
        """Take an optimiser step on every minibatch of the buffer, unless the recipe stops before."""
        models, recipe, rollout = self.models, self.recipe, experience.rollout
        plan = recipe.optimisation(textbook_optimisation(self.settings), len(rollout.score))
        kept = recipe.selection(rollout)
        experience.kept_share = len(kept) / len(rollout.score)
        with self.stopwatch("update"), models.in_training_mode(derive(*stream, "dropout")):
            for number, minibatch in enumerate(minibatches(rollout, kept, plan, stream)):
                new = self.evaluate(minibatch, sampling, (*stream, number))
                if recipe.stops(new, minibatch):
                    break
                advantage = recipe.advantage(minibatch.advantage, minibatch.mask)
                policy_loss = recipe.policy_loss(new, minibatch, advantage)
                value_loss = recipe.value_loss(new, minibatch)
                regulariser = recipe.regulariser(new, minibatch)
                (policy_loss + value_loss + regulariser).backward()  # type: ignore[no-untyped-call]
                sum_gradients(*trained(self.optimiser))
                losses = (policy_loss, value_loss, regulariser)
                told = update_statistics(trained(self.optimiser), new, minibatch, losses)
                experience.updates.append(told)
                take_step(self.optimiser, recipe, rates)

    def evaluate(self, minibatch: Rollout, sampling: Sampling, stream: tuple[int, ...]) -> Evaluation:
        """Let policy and critic judge a minibatch, with gradient, and pre-training texts if needed."""
        texts = None
        if "pretraining_loss" in self.recipe.needs:
            draw = generator(*stream, "ptx")
            texts = draw_texts(self.pretraining, len(minibatch.score), self.pad, draw)
        with self.accelerator.autocast():
            return evaluate(
                self.models, self.recipe, minibatch, sampling, eos=self.eos, pretraining=texts
            )
