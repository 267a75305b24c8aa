"""Who proposes: TPE, or chance where TPE comes back to what was proposed before."""

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from ablations.search.settings import Search

SEEDS_APART = 100_003


def make_sampler(search: Search, trials: int, *, at_random: bool) -> BaseSampler:
    """Return a sampler whose proposals depend on what is there alone.

    Args:
        search: what is searched for.
        trials: how many there are in the storage, of all kinds.
        at_random: draw from the whole space, whatever the trials say.
    """
    seed = SEEDS_APART * search.seed + trials
    if at_random:
        return RandomSampler(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(
            n_startup_trials=search.startup, multivariate=True, group=True, constant_liar=True, seed=seed
        )
