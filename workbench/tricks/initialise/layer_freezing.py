"""Freezing of the policy's lower layers."""

from torch import nn

from workbench.models import Models
from workbench.stages.prepare import Prepared
from workbench.trick import Initialise, hyper


class LayerFreezing(Initialise):
    """Train only the top blocks of the policy.

        ∇θ = 0 for the embeddings and all but the top k blocks

    Variant: the last norm and an output layer of its own stay trained; one tied to the embeddings, as
    GPT-2's is, is frozen with them. With k as large as the number of blocks nothing is frozen, the
    embeddings neither. The critic is left alone unless it shares the trunk. trlX has k = 2 by default
    and leaves GPT-2's position embeddings trained; here they are frozen too. All others train all.
    Source: trlX freeze_bottom_causal_layers in utils/modeling.py, commit 3340c2f3.
    """

    blocks: int = hyper(default=1, at_least=1, search=(1, 8), log=True)
    after = ("policy_start",)

    def __call__(self, models: Models, prepared: Prepared, seed: int) -> None:
        model = models.policy.model
        parts, depth = list(model.base_model.modules()), models.policy.config.num_hidden_layers
        lists = [part for part in parts if isinstance(part, nn.ModuleList) and len(part) == depth]
        if not lists:
            raise ValueError(f"layer_freezing finds no {depth} blocks in a {type(model).__name__}")
        if self.blocks >= depth:
            return
        embeddings = [part for part in parts if isinstance(part, nn.Embedding)]
        for part in (*lists[0][: depth - self.blocks], *embeddings):
            part.requires_grad_(False)
