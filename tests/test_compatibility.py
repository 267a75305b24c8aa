"""Texts that do not fit a model are refused in one sentence, before anything is trained."""

import json
from pathlib import Path

import pytest
from accelerate import Accelerator
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import GraniteConfig, GraniteForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from tests.builders import (
    CONTEXT,
    EOS,
    PAD,
    VOCABULARY,
    ListTracker,
    TinyTask,
    make_run,
    save_model,
    tiny_gpt2,
    tokenizer,
)
from workbench.recipes.grpo import GRPO
from workbench.settings import ModelSettings, PrepareSettings, RewardModelSettings, TrainingSettings
from workbench.stages.compatibility import require_fit
from workbench.stages.prepare import Prepared, prepare


def refuse(settings: PrepareSettings, home: Path, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        prepare(TinyTask(), settings, home, Accelerator(cpu=True), 4)
    assert not (home / "prepared").exists()


def test_texts_longer_than_the_context_of_a_model_from_scratch_are_refused(tmp_path: Path) -> None:
    settings = PrepareSettings(policy=ModelSettings(width=8, heads=2, context=3))
    refuse(
        settings,
        tmp_path,
        "longest text, or prompt .* tokens, has [0-9]+ tokens and the context of the policy is 3",
    )


def test_a_given_model_that_knows_fewer_tokens_than_the_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = save_model(tiny_gpt2(vocabulary=5), tmp_path / "small")
    settings = PrepareSettings(policy=ModelSettings(path=str(folder), context=CONTEXT))
    refuse(settings, tmp_path, "can use token 11, 'w11', and the model in .*small knows 5 tok")


def tiny_granite() -> PreTrainedModel:
    config = GraniteConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=CONTEXT,
        pad_token_id=PAD, bos_token_id=EOS, eos_token_id=EOS,
    )  # fmt: skip
    return GraniteForCausalLM(config).eval()


def one_token_more() -> TinyTask:
    task = TinyTask()
    task.tokenizer.add_tokens(["<image>"])
    return task


def test_a_tokenizer_may_have_a_token_that_no_text_has_and_the_model_does_not_know(
    tmp_path: Path,
) -> None:
    folder = save_model(tiny_gpt2(), tmp_path / "given")
    task, given = one_token_more(), PrepareSettings(policy=ModelSettings(path=str(folder)))
    require_fit(task, given, 4)
    task.tokenizer.pad_token = "<image>"
    with pytest.raises(ValueError, match=r"can use token 12, '<image>', and the model in .*knows 12"):
        require_fit(task, given, 4)


def test_a_family_that_scores_no_texts_is_refused_only_where_it_has_to(
    prepared: Prepared, tmp_path: Path
) -> None:
    folder = str(save_model(tiny_granite(), tmp_path / "granite"))
    alone = PrepareSettings(policy=ModelSettings(path=folder), sft=TrainingSettings(steps=0))
    refuse(alone, tmp_path, "granite can start no reward model and no critic: [^\n]* family granite;")
    reward_model = RewardModelSettings(path=str(prepared.reward_model))
    both = alone.model_copy(update={"reward_model": reward_model})
    models = prepare(TinyTask(), both, tmp_path, Accelerator(cpu=True), 4)
    recipe = GRPO.set({"responses_per_prompt.count": 2})
    assert make_run(models, tmp_path / "grpo", recipe).train(ListTracker()).history
    with pytest.raises(ValueError, match="can start no reward model and no critic"):
        make_run(models, tmp_path / "vanilla").train(ListTracker())


def test_a_reward_model_has_to_know_what_the_policy_can_say(tmp_path: Path) -> None:
    model = tiny_gpt2()
    model.config.num_labels = 1
    folder = save_model(model, tmp_path / "reward_model")
    settings = PrepareSettings(
        policy=ModelSettings(width=8, heads=2, context=CONTEXT),  # knows all 13 tokens
        reward_model=RewardModelSettings(path=str(folder)),
    )
    require_fit(TinyTask(), settings, 4)
    with pytest.raises(ValueError, match=r"'<image>', and the model in .*reward_model knows 12"):
        require_fit(one_token_more(), settings, 4)


def test_a_response_cap_that_does_not_fit_behind_a_prompt_is_refused(tmp_path: Path) -> None:
    settings = PrepareSettings(policy=ModelSettings(width=8, heads=2, context=CONTEXT))
    with pytest.raises(ValueError, match=f"with a response of {CONTEXT} tokens, has"):
        prepare(TinyTask(), settings, tmp_path, Accelerator(cpu=True), CONTEXT)
    assert not (tmp_path / "prepared").exists()


@pytest.mark.parametrize("outputs", [2, 3])
def test_a_reward_model_without_exactly_one_output_is_refused(tmp_path: Path, outputs: int) -> None:
    model = tiny_gpt2()
    model.config.num_labels = outputs  # 2 is what a language model's configuration says
    folder = save_model(model, tmp_path / "no_reward_model")
    settings = PrepareSettings(
        policy=ModelSettings(width=8, heads=2, context=CONTEXT),
        reward_model=RewardModelSettings(path=str(folder)),
    )
    refuse(settings, tmp_path, f"is no reward model: .* GPT2LMHeadModel with {outputs} o")


def save_shuffled_tokenizer(folder: Path) -> None:
    names = sorted(tokenizer().get_vocab())
    shuffled = WordLevel({name: number for number, name in enumerate(names)}, unk_token=names[0])
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(shuffled)).save_pretrained(folder)


@pytest.mark.parametrize("place", ["policy", "reward_model"])
def test_a_model_with_another_tokenizer_of_the_same_size_is_refused(tmp_path: Path, place: str) -> None:
    folder = save_model(tiny_gpt2(), tmp_path / "theirs")
    config = json.loads((folder / "config.json").read_text()) | {"id2label": {"0": "score"}}
    (folder / "config.json").write_text(json.dumps(config))
    save_shuffled_tokenizer(folder)
    settings = PrepareSettings.model_validate(
        {"policy": {"width": 8, "heads": 2, "context": CONTEXT}} | {place: {"path": str(folder)}}
    )
    refuse(settings, tmp_path, r"the tokenizer in .*theirs numbers [0-9]+ of the task's 12 tokens other")


def test_a_smaller_model_with_another_tokenizer_is_told_that_all_need_one(tmp_path: Path) -> None:
    # "give the task that model's own tokenizer" would take away the policy's
    folder = save_model(tiny_gpt2(vocabulary=5), tmp_path / "theirs")
    save_shuffled_tokenizer(folder)
    settings = PrepareSettings(policy=ModelSettings(path=str(folder), context=CONTEXT))
    refuse(settings, tmp_path, "task, policy and reward model need one tokenizer")
