"""Whether a task and given models go together: room for the texts, one score, one tokenizer."""

import math
from collections.abc import Iterator, Sequence

from workbench.loading import load_config, load_vocabulary, require_scorer, text_config
from workbench.settings import PrepareSettings
from workbench.tasks.base import Task, Tokens

DEMONSTRATIONS = 64
"""Responses to look at for how all of them end."""

TOLERATED_SHARE = 0.1
"""Of a tokenizer's tokens may be numbered otherwise in a copy of it: special ones added or renamed."""


def require_fit(task: Task, settings: PrepareSettings, response_cap: int) -> None:
    """Refuse a model without room for the task's texts, or with another vocabulary.

    Raises:
        ValueError: in one sentence.
    """
    if settings.reward_model.path:
        require_one_score(settings.reward_model.path)
    elif settings.policy.path:
        require_scorer(settings.policy.path)
    for path in filter(None, (settings.policy.path, settings.reward_model.path)):
        require_one_tokenizer(task, path)
    if settings.policy.path and settings.sft.steps == 0:
        require_known_end(task)
    texts = [*task.pretraining_texts(), *task.held_out_texts()]
    texts += [(*example.prompt, *example.response) for example in task.demonstrations()]
    prompts = [*task.train_prompts(), *task.eval_prompts()]
    if min(map(len, texts), default=2) < 2 or min(map(len, prompts), default=1) < 1:
        raise ValueError("the task has a text of fewer than two tokens, or an empty prompt")
    answered = max(map(len, prompts), default=0) + response_cap
    longest = max(answered, *map(len, texts))
    highest = _highest_token(task, [*texts, *prompts])
    for model, context, vocabulary in _capacities(task, settings):
        if highest >= vocabulary:
            name = task.tokenizer.convert_ids_to_tokens(highest)
            raise ValueError(
                f"the task or its policy can use token {highest}, {name!r}, and {model} knows "
                f"{vocabulary} tokens; give the task that model's own tokenizer, policy and reward model"
                " the same vocabulary, or the task texts without that token"
            )
        highest = max(highest, min(vocabulary, len(task.tokenizer)) - 1)  # the policy can say it
        if longest > context:
            raise ValueError(
                f"the task's longest text, or prompt with a response of {response_cap} tokens, "
                f"has {longest} tokens and the context of {model} is {context}; use a longer "
                "context, a lower max_response_tokens or shorter texts"
            )


def require_one_score(path: str) -> None:
    """Refuse a reward model whose configuration gives it another number of outputs than one.

    A language model's says two, so that one in the place of a reward model is refused as well.

    Raises:
        ValueError: in one sentence.
    """
    config = load_config(path)
    if config.num_labels != 1:
        kind = " or ".join(config.architectures or ["a model"])
        raise ValueError(
            f"the model in {path} is no reward model: its configuration says {kind} with "
            f"{config.num_labels} outputs; it has to be a sequence-classification model with "
            "num_labels 1"
        )


def require_one_tokenizer(task: Task, path: str) -> None:
    """Refuse a model with a tokenizer beside it that is not the task's: ids would mean other words.

    Raises:
        ValueError: in one sentence.
    """
    own, theirs = task.tokenizer.get_vocab(), load_vocabulary(path)
    others = sum(theirs.get(token) != number for token, number in own.items())
    if theirs and others > TOLERATED_SHARE * len(own):
        raise ValueError(
            f"the tokenizer in {path} numbers {others} of the task's {len(own)} tokens otherwise, or "
            "lacks them; task, policy and reward model need one tokenizer"
        )


def _highest_token(task: Task, texts: Sequence[Tokens]) -> int:
    """Return the highest number of the tokens in texts, of the end token and of padding.

    A tokenizer may have tokens that its own model does not know, as those of images: they do no harm
    where no text has them.
    """
    own = int(task.tokenizer.eos_token_id), int(task.tokenizer.pad_token_id)
    return max(*own, *map(max, texts))


def require_known_end(task: Task) -> None:
    """Refuse demonstrations that end with two tokens: a policy without SFT knows the first alone.

    Raises:
        ValueError: in one sentence.
    """
    tokenizer, eos = task.tokenizer, task.tokenizer.eos_token_id
    special = tuple(str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)
    responses = [example.response for example in task.demonstrations()]
    bodies = [response[:-1] for response in responses if response[-1] == eos][:DEMONSTRATIONS]
    texts = [tokenizer.decode(body).rstrip() for body in bodies]
    for token in special:
        if texts and all(text.endswith(token) for text in texts):
            raise ValueError(
                f"responses end with {token} and only then with {tokenizer.eos_token}, which a policy "
                f"without SFT never says; set end_token: {token} in the task, or let sft have steps"
            )


def _capacities(task: Task, settings: PrepareSettings) -> Iterator[tuple[str, float, int]]:
    """Yield name, context and vocabulary of every model that the texts go through, the policy first."""
    if not settings.policy.path:
        yield "the policy", settings.policy.context, len(task.tokenizer)
    for path in filter(None, (settings.policy.path, settings.reward_model.path)):
        config = text_config(load_config(path))
        context = getattr(config, "max_position_embeddings", None) or math.inf
        yield f"the model in {path}", context, config.vocab_size
