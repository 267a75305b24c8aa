"""Dropout in the update."""

from torch import nn

from workbench.models import Models
from workbench.stages.prepare import Prepared
from workbench.trick import Initialise, hyper


class Dropout(Initialise):
    """Drop hidden units of policy and critic in the update.

        h ← h · b / (1 − p)          b ~ Bernoulli(1 − p), wherever the architecture has dropout

    Variant: the rollout goes without, so the ratio is not 1 at the first step and clips as if the
    policy had moved. The textbook is without: lm-human-preferences, N+ and TRL switch it off, trlX and
    RL4LMs run the update in evaluation mode, the Llama of MOSS-RLHF has 0. TRL's GRPO and RLOO leave
    the model's own, 0.1 for GPT-2. Llama has it in attention alone.
    Source: TRL disable_dropout, commit f2cd5771; Srivastava et al. 2014; arXiv:1909.08593.
    """

    probability: float = hyper(default=0.1, above=0, at_most=0.5, search=(0.01, 0.3), log=True)
    after = ("policy_start", "critic_start", "shared_trunk")

    def __call__(self, models: Models, prepared: Prepared, seed: int) -> None:
        for model in models.updated:
            config = model.base_model.config
            for name in config.to_dict():
                if name.endswith("_pdrop") or name == "attention_dropout":
                    setattr(config, name, self.probability)
            for part in model.modules():
                if isinstance(part, nn.Dropout):
                    part.p = self.probability
                if isinstance(getattr(part, "attention_dropout", None), float):
                    part.attention_dropout = self.probability
        models.has_dropout = True
