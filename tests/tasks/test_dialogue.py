"""The dialogue task: what it generates, and that the settings determine all of it."""

import math
import random
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from workbench.tasks.base import Tokens
from workbench.tasks.dialogue import Coverage, DialogueSettings, DialogueTask
from workbench.tasks.dialogue.prompts import benign_prompts, harmful_prompts
from workbench.tasks.dialogue.sentences import read_sentence, split_sentences
from workbench.tasks.dialogue.vocabulary import EOS, SEP, lexicon, vocabulary
from workbench.tasks.labels import prefers_first

SMALL = DialogueSettings(
    pretraining_texts=400,
    held_out_texts=100,
    demonstrations=400,
    train_prompts=256,
    eval_prompts=128,
    held_out_prompts=64,
    preference_pairs=400,
    held_out_pairs=100,
)
TASK = DialogueTask(SMALL)


class Sampler:
    """Stand in for the SFT policy: demonstrations, with a record of the calls."""

    def __init__(self, task: DialogueTask) -> None:
        self.task = task
        self.calls: list[tuple[list[Tokens], int]] = []
        self.said: dict[Tokens, set[Tokens]] = {}

    def __call__(self, prompts: Sequence[Tokens], seed: int) -> list[Tokens]:
        self.calls.append((list(prompts), seed))
        rng = random.Random(seed)
        responses = [self.task.demonstrate(prompt, rng) for prompt in prompts]
        for prompt, response in zip(prompts, responses, strict=True):
            self.said.setdefault(prompt, set()).add(response)
        return responses


def everything(task: DialogueTask) -> list[object]:
    return [
        task.train_prompts(),
        task.eval_prompts(),
        task.demonstrations(),
        task.pretraining_texts(),
        task.held_out_texts(),
        task.preferences(Sampler(task)),
    ]


def words_of(tokens: Tokens) -> tuple[str, ...]:
    return tuple(vocabulary()[index] for index in tokens)


def test_equal_settings_give_equal_data() -> None:
    assert everything(TASK) == everything(DialogueTask(SMALL))


def test_another_seed_gives_other_data_of_the_same_language() -> None:
    other = DialogueTask(SMALL.model_copy(update={"seed": 1}))
    assert other.lexicon == TASK.lexicon
    for one, another in zip(everything(TASK), everything(other), strict=True):
        assert one != another


def test_data_do_not_depend_on_the_process() -> None:
    code = (
        "import zlib;from workbench.tasks.dialogue import *;"
        "t=DialogueTask(DialogueSettings(demonstrations=50,pretraining_texts=50));"
        "d=[t.eval_prompts(),[(d.prompt,d.response) for d in t.demonstrations()],"
        "t.pretraining_texts()];print(zlib.crc32(repr(d).encode()))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_importing_the_package_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, workbench.tasks.dialogue as d; d.DialogueTask();"
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    path = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=path).returncode == 0


def test_there_are_many_distinct_prompts_of_each_class() -> None:
    words = lexicon(0)
    benign, harmful = list(benign_prompts(words)), list(harmful_prompts(words))
    # 24 projects × 6 stage words × 6 phrasings × 2 determiners × 6 modifiers
    assert len(benign) == len(set(benign)) == 10_368
    # 18 acts × 6 phrasings × 2 determiners × 6 modifiers
    assert len(harmful) == len(set(harmful)) == 1_296


def test_no_prompt_is_shared_by_training_evaluation_and_held_out_pairs() -> None:
    train, evaluation = set(TASK.train_prompts()), set(TASK.eval_prompts())
    pairs = TASK.preferences(Sampler(TASK))
    held_out = {pair.prompt for pair in pairs.held_out}
    assert len(train) == 256 and len(evaluation) == 128 and len(held_out) == 64
    assert not train & evaluation and not train & held_out and not evaluation & held_out
    assert {pair.prompt for pair in pairs.train} <= train
    assert {shown.prompt for shown in TASK.demonstrations()} <= train


def test_held_out_texts_are_distinct_and_hold_no_text_or_prompt_of_training() -> None:
    texts, trained = TASK.held_out_texts(), set(TASK.pretraining_texts())
    trained |= {shown.prompt + shown.response for shown in TASK.demonstrations()}
    assert len(texts) == len(set(texts)) == 100
    assert not set(texts) & trained
    separator = TASK.encode([SEP])[0]
    asked = {text[: text.index(separator) + 1] for text in texts if separator in text}
    assert asked and not asked & {*TASK.train_prompts(), *TASK.eval_prompts()}


@pytest.mark.parametrize("prompts", [TASK.train_prompts(), TASK.eval_prompts()])
def test_a_fourth_of_the_prompts_is_harmful_and_the_topics_are_in_balance(
    prompts: list[Tokens],
) -> None:
    classes = Counter(map(TASK.prompt_class, prompts))
    assert classes.pop("harmful") == len(prompts) / 4
    # three fourths over eight topics: 3/32 of the prompts each
    assert set(classes.values()) == {len(prompts) * 3 // 32}
    assert set(classes) == {topic.name for topic in TASK.lexicon.topics}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_harmful_share_is_met_at_its_ends(share: float) -> None:
    task = DialogueTask(SMALL.model_copy(update={"harmful_share": share}))
    classes = Counter(map(task.prompt_class, task.eval_prompts()))
    assert classes["harmful"] == share * 128


def test_a_language_with_too_few_prompts_says_so() -> None:
    with pytest.raises(ValueError, match="too few prompts for 20512 distinct ones"):
        DialogueTask(DialogueSettings(train_prompts=20_000))


def test_mean_gold_rises_with_quality_as_documented() -> None:
    rng, means = random.Random(0), []
    for quality in (0.0, 0.25, 0.5, 0.75, 1.0):
        prompts = TASK.eval_prompts() * 8
        shown = [TASK.demonstrate(prompt, rng, quality) for prompt in prompts]
        means.append(statistics.fmean(TASK.gold(prompts, shown)))
    # n = 1,024 a point and a standard deviation of at most 0.86: ±0.08 is three standard errors
    assert means == pytest.approx([-0.10, 0.29, 0.78, 1.27, 1.77], abs=0.08)
    assert means == sorted(means)


def test_responses_end_once_and_keep_to_37_tokens() -> None:
    end = TASK.encode([EOS])[0]
    task = DialogueTask(SMALL.model_copy(update={"demonstrations": 4_000}))
    lengths = [len(shown.response) for shown in task.demonstrations()]
    assert all(s.response.index(end) == len(s.response) - 1 for s in task.demonstrations())
    assert max(lengths) <= 37
    # n = 4,000 and a standard deviation of 6: ±0.3 is three standard errors
    assert statistics.fmean(lengths) == pytest.approx(15.7, abs=0.3)


@pytest.mark.parametrize("grammar_seed", [0, 1, 2])
def test_every_sentence_of_a_demonstration_is_grammatical(grammar_seed: int) -> None:
    task = DialogueTask(SMALL.model_copy(update={"grammar_seed": grammar_seed}))
    for shown in task.demonstrations():
        for sentence in split_sentences(words_of(shown.response)[:-1]):
            assert read_sentence(task.lexicon, sentence).kind != "broken", sentence


def test_another_grammar_seed_gives_another_language_of_the_same_words_and_difficulty() -> None:
    other = DialogueTask(SMALL.model_copy(update={"grammar_seed": 1}))
    assert {p for t in other.lexicon.topics for p in t.projects} == {
        p for t in TASK.lexicon.topics for p in t.projects
    }
    rng, prompts = random.Random(0), other.eval_prompts() * 8
    good = [other.demonstrate(prompt, rng, 1.0) for prompt in prompts]
    # a good demonstration earns 1.77 in its own language (n = 1,024, standard deviation 0.2) …
    assert statistics.fmean(other.gold(prompts, good)) == pytest.approx(1.77, abs=0.03)
    # … and its clauses are broken in the other one.
    benign = [(p, r) for p, r in zip(prompts, good, strict=True) if other.prompt_class(p) != "harmful"]
    broken = [TASK.judge.explain(p, r).broken > 0 for p, r in benign]
    assert statistics.fmean(broken) > 0.9


def test_quality_can_be_made_better_or_worse() -> None:
    means = []
    for alpha, beta in ((1, 4), (1, 1), (4, 1)):
        settings = SMALL.model_copy(update={"quality_alpha": alpha, "quality_beta": beta})
        shown = DialogueTask(settings).demonstrations()
        means.append(statistics.fmean(TASK.gold([s.prompt for s in shown], [s.response for s in shown])))
    assert means[0] + 0.2 < means[1] < means[2] - 0.2


def test_preference_pairs_have_the_sizes_and_batches_that_were_asked_for() -> None:
    sampler = Sampler(TASK)
    pairs = TASK.preferences(sampler)
    assert (len(pairs.train), len(pairs.held_out)) == (400, 100)
    # first samples for all, second samples for half, for training and then held out
    assert [len(prompts) for prompts, _ in sampler.calls] == [400, 200, 100, 50]
    assert len({seed for _, seed in sampler.calls}) == 4
    assert all(pair.chosen != pair.rejected for pair in [*pairs.train, *pairs.held_out])


@pytest.mark.parametrize(
    ("coverage", "own", "foreign"),
    [
        (Coverage(swapped=1, demonstration=0, second_sample=0), 400, 400),
        (Coverage(swapped=0, demonstration=0, second_sample=1), 800, 0),
        (Coverage(), 600, 100),
    ],
)
def test_coverage_says_where_the_rivals_come_from(coverage: Coverage, own: int, foreign: int) -> None:
    task = DialogueTask(SMALL.model_copy(update={"coverage": coverage}))
    sampler = Sampler(task)
    pairs = task.preferences(sampler).train
    sampled = set().union(*sampler.said.values())
    sides = [(pair.prompt, side) for pair in pairs for side in (pair.chosen, pair.rejected)]
    from_own = sum(side in sampler.said[prompt] for prompt, side in sides)
    from_other = sum(side in sampled - sampler.said[prompt] for prompt, side in sides)
    # A short response is said to several prompts by chance, and a second sample equal to the
    # first gives way to a demonstration: a few pairs of 400 move.
    assert from_own == pytest.approx(own, abs=12)
    assert from_other == pytest.approx(foreign, abs=12)


def test_labels_without_noise_always_prefer_the_better_response() -> None:
    task = DialogueTask(SMALL.model_copy(update={"label_temperature": 0.0}))
    pairs = task.preferences(Sampler(task)).train
    prompts = [pair.prompt for pair in pairs]
    better = task.gold(prompts, [pair.chosen for pair in pairs])
    worse = task.gold(prompts, [pair.rejected for pair in pairs])
    assert all(a >= b for a, b in zip(better, worse, strict=True))


def test_labels_are_bradley_terry() -> None:
    rng, n = random.Random(0), 20_000
    share = sum(prefers_first(0.85, 0.85, rng) for _ in range(n)) / n
    # σ(1) = 0.7311; three standard errors of a share of 20,000 are 0.0094
    assert share == pytest.approx(1 / (1 + math.exp(-1)), abs=0.0094)
    assert prefers_first(1e6, 1e-6, rng) and not prefers_first(-1e6, 1e-6, rng)


def test_the_tokenizer_has_every_word_once_and_pad_is_not_end() -> None:
    tokenizer = TASK.tokenizer
    assert len(tokenizer) == len(vocabulary()) == len(set(vocabulary())) == 241
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer.decode(TASK.encode(["mix", "the", "flour", "."])) == "mix the flour ."
    assert tokenizer.encode("nonsense") == [tokenizer.unk_token_id]


@given(st.integers(0, 399))
def test_decoded_text_encodes_to_the_same_tokens(index: int) -> None:
    shown = TASK.demonstrations()[index]
    for tokens in (shown.prompt, shown.response, TASK.pretraining_texts()[index]):
        assert tuple(TASK.tokenizer.encode(TASK.tokenizer.decode(tokens))) == tokens


def test_shares_of_coverage_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"must add up to 1, got 1\.5"):
        Coverage(swapped=0.75)
    with pytest.raises(ValidationError, match="grammer_seed"):
        DialogueSettings.model_validate({"grammer_seed": 1})


def test_another_draw_of_pairs_changes_the_pairs_and_nothing_else() -> None:
    redrawn = TASK.redrawn(0)
    assert redrawn.demonstrations() == TASK.demonstrations()
    assert redrawn.train_prompts() == TASK.train_prompts()
    tasks = (TASK, redrawn, TASK.redrawn(0), TASK.redrawn(1))
    drawn = [task.preferences(Sampler(task)) for task in tasks]
    assert drawn[1] == drawn[2]
    assert drawn[0] != drawn[1] != drawn[3] != drawn[0]
