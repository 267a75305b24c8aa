"""Adam as TensorFlow 1 has it, with ε outside the bias correction."""

from dataclasses import replace

from workbench.trick import OptimisationTransform
from workbench.types import Optimisation


class AdamTensorflowStyle(OptimisationTransform):
    """Add ε to the uncorrected root, so that it weighs more in the first steps.

        θ ← θ − lr · √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε̂)

    Variant: the same as PyTorch's Adam with ε = ε̂ / √(1 − β₂ᵗ): at β₂ = 0.999 that is 32 ε̂ at the first
    step and falls to ε̂. lm-human-preferences runs so natively and its reproduction on purpose, both
    with ε̂ = 1e-5, which `adam_epsilon` sets; all others run PyTorch's.
    Source: lm-human-preference-details, commit ccc19538, AdamTensorFlowStyle; arXiv:1412.6980, §2.
    """

    def __call__(self, optimisation: Optimisation, buffer_size: int) -> Optimisation:
        return replace(optimisation, is_tensorflow_style=True)
