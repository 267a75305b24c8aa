"""Stage 2: supervised fine-tuning on demonstrations."""

from collections.abc import Sequence

from accelerate import Accelerator
from torch import Tensor

from workbench.models import Policy
from workbench.settings import TrainingSettings
from workbench.stages.supervised import batches, fit, language_batch
from workbench.tasks.base import Demonstration


def fine_tune(
    policy: Policy,
    demonstrations: Sequence[Demonstration],
    settings: TrainingSettings,
    *,
    accelerator: Accelerator,
    pad: int,
    seed: int,
) -> list[float]:
    """Minimise the cross-entropy of the response given the prompt.

        L = − mean_{(x, y), t} log π(y_t | x, y_<t)

    The prompt's own tokens carry no loss.

    Args:
        policy: model to train, in place; starts from the pre-trained one.
        demonstrations: prompts with responses.
        settings: steps, batch size, learning rate.
        accelerator: device and precision.
        pad: padding token.
        seed: seed of the batches.
    Returns:
        the loss of every step, in nats per response token.
    """

    def loss_of(batch: list[int]) -> Tensor:
        shown = [demonstrations[i] for i in batch]
        rows = [(*example.prompt, *example.response) for example in shown]
        tokens, mask = language_batch(rows, [len(example.prompt) for example in shown], pad)
        return policy.language_loss(tokens.to(accelerator.device), mask.to(accelerator.device))

    return fit(
        policy,
        loss_of,
        batches(len(demonstrations), settings.batch_size, settings.steps, (seed, "sft")),
        accelerator=accelerator,
        learning_rate=settings.learning_rate,
        steps=settings.steps,
        title="fine-tuning",
    )
