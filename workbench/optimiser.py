"""Adam for policy and critic, as PyTorch or as TensorFlow 1 has it."""

from collections.abc import Callable
from math import sqrt
from typing import Any

from torch import nn
from torch.optim import AdamW

from workbench.models import Models
from workbench.recipe import Recipe
from workbench.settings import PpoSettings
from workbench.textbook import textbook_optimisation
from workbench.types import Rates


def make_optimiser(models: Models, settings: PpoSettings, recipe: Recipe) -> AdamW:
    """Make one Adam with a group of parameters for the policy and one for the critic.

    Args:
        models: parameters that both share are the policy's.
        settings: learning rates.
        recipe: its tricks of slot `optimisation` change the rest.
    """
    plan = recipe.optimisation(textbook_optimisation(settings), settings.rollout_size)
    policy, critic = models.parameters()
    policy_rate = settings.policy_learning_rate * plan.policy_rate
    critic_rate = settings.critic_learning_rate * plan.critic_rate
    groups = [_group(policy, policy_rate, plan.policy_epsilon)]
    groups.append(_group(critic, critic_rate, plan.critic_epsilon))
    kind = TensorFlowAdam if plan.is_tensorflow_style else AdamW
    return kind(groups, betas=plan.betas, weight_decay=plan.weight_decay, fused=True)


def _group(parameters: list[nn.Parameter], rate: float, epsilon: float) -> dict[str, Any]:
    rates = {"lr": rate, "initial_lr": rate}
    return {"params": parameters, **rates, "eps": epsilon, "initial_eps": epsilon}


def take_step(optimiser: AdamW, recipe: Recipe, rates: Rates) -> None:
    """Change the gradients as the recipe says, take one step, and clear them.

    Args:
        optimiser: what `make_optimiser` made; its parameters have gradients.
        recipe: its tricks of slot `gradient`.
        rates: factors on the learning rates; at 0 neither weights nor moments move.
    """
    for group, rate in zip(optimiser.param_groups, (rates.policy, rates.critic), strict=True):
        group["lr"] = group["initial_lr"] * rate
        if rate == 0:
            for parameter in group["params"]:
                parameter.grad = None
    moving = [[p for p in part if p.grad is not None] for part in trained(optimiser)]
    policy, critic = ([p.grad for p in part if p.grad is not None] for part in moving)
    changed = recipe.gradient(policy, critic)
    for part, gradients in zip(moving, changed, strict=True):
        for parameter, gradient in zip(part, gradients, strict=True):
            parameter.grad = gradient
    optimiser.step()
    optimiser.zero_grad()


def trained(optimiser: AdamW) -> list[list[nn.Parameter]]:
    """Return the parameters of the policy and of the critic that are updated."""
    return [group["params"] for group in optimiser.param_groups]


class TensorFlowAdam(AdamW):
    """Adam with ε outside the bias correction.

        θ ← θ − α √(1 − β₂ᵗ)/(1 − β₁ᵗ) · m/(√v + ε̂)

    PyTorch divides by √v/√(1 − β₂ᵗ) + ε instead, so the two agree where ε = ε̂/√(1 − β₂ᵗ).
    Source: adam_tf_style of lm-human-preference-details, ccc19538.
    """

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Set each group's ε for its step t and take the step."""
        for group in self.param_groups:
            seen = [self.state[p]["step"] for p in group["params"] if self.state.get(p)]
            t = int(max(seen, default=0)) + 1
            group["eps"] = group["initial_eps"] / sqrt(1 - group["betas"][1] ** t)
        return super().step(closure)
