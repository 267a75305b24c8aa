"""Starting weights of the value head."""

import torch
from torch import nn

from workbench.models import Models
from workbench.stages.prepare import Prepared
from workbench.trick import Initialise, hyper


class ValueHeadInit(Initialise):
    """Draw the weights of the critic's last layer from a normal distribution, its bias is 0.

        w ~ N(0, σ²)          σ = s · (h + 1)^(−p), h inputs of the layer

    Variant: s = 0 makes every first value 0, as in lm-human-preferences and its reproduction; s = 1,
    p = 1 is OpenRLHF's critic that starts from the policy; s = 0.2, p = 0 the legacy head of TRL; s = 1,
    p = ½ the reward models of lm-human-preferences and N+. MOSS-RLHF, N+ and DeepSpeed-Chat keep the
    reward model's head, which this trick throws away. Drawn from the run's seed.
    Source: OpenRLHF models/model.py, commit 3c3be623; lm-human-preferences, cbfd210b.
    """

    std: float = hyper(default=1.0, at_least=0, search=(0.01, 1.0), log=True)
    power: float = hyper(default=1.0, at_least=0, search=(0.0, 1.0))
    after = ("critic_start", "value_head_mlp")
    is_of_critic = True

    def __call__(self, models: Models, prepared: Prepared, seed: int) -> None:
        *_, last = (m for m in models.critic.model.score.modules() if isinstance(m, nn.Linear))
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(last.weight.shape, generator=generator)
        with torch.no_grad():
            last.weight.copy_(self.std * (last.in_features + 1) ** -self.power * noise)
            if last.bias is not None:
                last.bias.zero_()
