"""Labels of preference pairs: who would be preferred by a judge that is not always sure."""

import math
import random


def prefers_first(gold_difference: float, temperature: float, rng: random.Random) -> bool:
    """Draw a Bradley–Terry label.

        P(a ≻ b) = σ((gold_a − gold_b) / temperature)          temperature 0: the better one wins

    Args:
        gold_difference: gold_a − gold_b; an exact tie is a fair coin at any temperature.
        temperature: noise of the labeller, in units of gold.
        rng: gives one uniform number.
    Source: Bradley & Terry 1952, Biometrika 39(3/4).
    """
    uniform = rng.random()
    if gold_difference == 0:
        return uniform < 0.5
    if temperature == 0:
        return gold_difference > 0
    return uniform < 0.5 * (1 + math.tanh(gold_difference / (2 * temperature)))
