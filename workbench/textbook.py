"""How PPO samples and optimises before any trick."""

from workbench.settings import PpoSettings
from workbench.types import Optimisation, Sampling


def textbook_sampling(settings: PpoSettings, responses: int) -> Sampling:
    """Sample from the policy as it is: one temperature everywhere, one buffer for all responses."""
    return Sampling(
        temperature=settings.temperature,
        log_prob_temperature=settings.temperature,
        max_response_tokens=settings.max_response_tokens,
        buffer_size=responses,
    )


def textbook_optimisation(settings: PpoSettings) -> Optimisation:
    """Work through a buffer with Adam as PyTorch has it: β = 0.9, 0.999, ε = 1e-8, no decay."""
    return Optimisation(epochs=settings.epochs, minibatch_size=settings.minibatch_size)
