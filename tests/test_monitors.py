"""Every monitor against a small case worked out by hand, and the glossary against what is logged."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import PreTrainedConfig

from tests.builders import (
    ListTracker,
    TinyTask,
    as_policy,
    make_evaluation,
    make_rollout,
    make_run,
    table,
)
from workbench import evaluation
from workbench.evaluation import correlation, win_shares
from workbench.experience import Experience
from workbench.forward import TokenStatistics, compare
from workbench.glossary import GLOSSARY
from workbench.models import Batch
from workbench.monitors import (
    Stopwatch,
    UpdateStatistics,
    finite,
    iteration_metrics,
    policy_metrics,
    text_metrics,
    update_statistics,
)
from workbench.recipes.ppo_max import PPO_MAX
from workbench.recipes.vanilla import VANILLA
from workbench.sampling import Samples
from workbench.stages.prepare import Prepared
from workbench.stages.pretrain import held_out_nats
from workbench.tasks.base import Tokens
from workbench.training import Result, final_metrics

# One buffer of two responses: two tokens cut at the cap after a prompt of two, one token after one.
MASK = torch.tensor([[True, True], [True, False]])
SAID = TokenStatistics(
    log_prob=table([-1, -2], [-3, 0]),
    ref_log_prob=table([-2, -1.5], [-3.5, 0]),
    entropy=table([0.5, 1.0], [1.5, 0]),
    kl=table([0.1, 0.2], [0.4, 0]),
)
SAMPLES = Samples(
    tokens=torch.tensor([[2, 3, 5, 6], [4, 5, 0, 0]]),
    prompt_length=torch.tensor([2, 1]),
    mask=MASK,
    text_length=torch.tensor([2, 1]),
    log_prob=SAID.log_prob,
    hidden=torch.zeros(2, 2, 1),
    prompt_hidden=torch.zeros(2, 2, 1),
    is_truncated=torch.tensor([True, False]),
)
ROLLOUT = make_rollout(
    [2, 1],
    mask=MASK,
    value=table([0, 2], [2, 0]),
    returns=table([1, 3], [2, 0]),
    advantage=table([1, -1], [3, 0]),
)
STEP = UpdateStatistics(*(torch.tensor(float(i)) for i in range(8)))
NEXT_STEP = UpdateStatistics(*(torch.tensor(float(i) + 2) for i in range(8)))
EXPERIENCE = Experience(
    samples=SAMPLES,
    statistics=SAID,
    prompt_log_prob=table([0, -1], [0, 0]),
    score=torch.tensor([1.0, 4.0]),
    rollout=ROLLOUT,
    updates=[STEP, NEXT_STEP],
    kept_share=0.75,
)

EXPECTED = {
    "reward/proxy": (1 + 4) / 2,
    "reward/proxy_std": (1.5**2 + 1.5**2) ** 0.5,  # over n − 1 = 1
    "reward/q05": 1 + 3 * 0.05,
    "reward/q25": 1 + 3 * 0.25,
    "reward/q50": 2.5,
    "reward/q75": 1 + 3 * 0.75,
    "reward/q95": 1 + 3 * 0.95,
    "reward/gold": (0.5 + 1.5) / 2,
    "policy/perplexity": math.exp((1.5 + 3) / 2),  # mean nats per response: 1.5 and 3
    "policy/true_perplexity": math.exp(1.0),
    "policy/reference_perplexity": math.exp((1.75 + 3.5) / 2),
    # nats per prediction: (1 + 3)/3 over 2 − 1 + 2 tokens, 3/1 over 1 − 1 + 1; 3 response tokens
    "policy/moss_perplexity": math.exp((4 / 3 + 3) / 3),
    "policy/response_length": (2 + 1) / 2,
    # log-ratios d: 1 and −0.5; 0.5
    "policy/kl_to_sft": ((1 - 0.5) + 0.5) / 2,
    "policy/kl_to_sft_k3": (math.exp(-1) + (math.exp(0.5) - 1.5) + (math.exp(-0.5) - 0.5)) / 2,
    "policy/kl_to_sft_exact": (0.3 + 0.4) / 2,
    "policy/kl_per_token": (0.25 + 0.5) / 2,
    "policy/entropy": (0.5 + 1.0 + 1.5) / 3,
    "policy/distinct": 1.0,  # (5, 6) and (5)
    "policy/repeated": 0.0,
    "policy/truncated": 0.5,
    # the means of i and i + 2
    "ppo/policy_loss": 1.0,
    "ppo/value_loss": 2.0,
    "ppo/regulariser": 3.0,
    "ppo/approx_kl": 4.0,
    "ppo/optimiser_steps": 2.0,
    "ppo/kept_share": 0.75,
    "ppo/clip_fraction": 5.0,
    "ppo/value_clip_fraction": 6.0,
    "ppo/policy_gradient_norm": 7.0,
    "ppo/critic_gradient_norm": 8.0,
    # returns 1, 3, 2 vary by 2/3; errors 1, 1, 0 by 2/9: 1 − 1/3
    "ppo/explained_variance": 2 / 3,
    "ppo/advantage_mean": (1 - 1 + 3) / 3,
    "ppo/advantage_std": (8 / 3) ** 0.5,  # (0 + 4 + 4)/3
    "ppo/return_mean": 2.0,
    "ppo/value_mean": 4 / 3,
    "time/response_tokens": 3.0,
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_monitor_equals_its_value_by_hand(name: str) -> None:
    found = iteration_metrics([EXPERIENCE], [0.5, 1.5])
    assert found[name] == pytest.approx(EXPECTED[name], rel=1e-6, abs=1e-9)


def test_where_sampling_goes_on_a_response_ends_with_its_text_but_all_tokens_count_as_sampled() -> None:
    longer = replace(SAMPLES, text_length=torch.tensor([1, 1]))
    found = iteration_metrics([replace(EXPERIENCE, samples=longer)], None)
    assert found["policy/response_length"] == 1.0
    assert found["time/response_tokens"] == EXPECTED["time/response_tokens"]


def test_no_monitor_of_an_iteration_goes_untested() -> None:
    assert set(iteration_metrics([EXPERIENCE], [0.5, 1.5])) == set(EXPECTED)


def test_an_iteration_averages_its_buffers() -> None:
    other = replace(EXPERIENCE, statistics=replace(SAID, log_prob=SAID.ref_log_prob))
    found = iteration_metrics([EXPERIENCE, other], None)
    assert found["policy/kl_to_sft"] == pytest.approx((EXPECTED["policy/kl_to_sft"] + 0) / 2)
    assert found["policy/distinct"] == 0.5  # each response occurs twice
    assert found["time/response_tokens"] == 6
    assert "reward/gold" not in found


def test_diversity_counts_distinct_responses_and_repeated_bigrams() -> None:
    # ababa: ab, ba, ab, ba: 1 − 2/4; abc: 1 − 2/2; a: none, so 0; twice ababa: 3 of 4 distinct
    found = text_metrics([(2, 3, 2, 3, 2), (2, 3, 4), (2,), (2, 3, 2, 3, 2)])
    assert found == {"policy/distinct": 0.75, "policy/repeated": (0.5 + 0 + 0 + 0.5) / 4}


def test_update_statistics_are_means_over_response_tokens() -> None:
    rollout = make_rollout([2, 1], value=table([0, 1], [2, 0]))
    moved = torch.where(rollout.mask, table([1.5, 0.9], [0.5, 7]).log(), 0.0)
    new = replace(
        make_evaluation(rollout),
        log_prob=rollout.log_prob + moved,
        value=rollout.value + table([0.3, -0.1], [-0.25, 9]),
    )
    policy, head = nn.Linear(2, 1), nn.Linear(1, 1, bias=False)
    policy.weight.grad, policy.bias.grad = torch.tensor([[3.0, 0.0]]), torch.tensor([4.0])
    head.weight.grad = torch.tensor([[-2.0]])
    trained = [list(model.parameters()) for model in (policy, head)]
    losses = (torch.tensor(1.0), torch.tensor(2.0), torch.tensor(3.0))
    found = {k: float(v) for k, v in vars(update_statistics(trained, new, rollout, losses)).items()}
    k3 = [ratio - 1 - math.log(ratio) for ratio in (1.5, 0.9, 0.5)]
    assert found == pytest.approx(
        {
            "policy_loss": 1, "value_loss": 2, "regulariser": 3, "approx_kl": sum(k3) / 3,
            "clip_fraction": 2 / 3,  # 1.5 and 0.5 are more than 0.2 from 1
            "value_clip_fraction": 2 / 3,  # 0.3 and 0.25 are more than 0.2
            "policy_gradient_norm": 5, "critic_gradient_norm": 2,
        }
    )  # fmt: skip


class Bigram(nn.Module):
    """A language model of two tokens, 0 and the end 1, that says 0 with probability p."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2, bias=False).double()
        self.head.weight.data = torch.tensor([[p] * 2, [1 - p] * 2], dtype=torch.float64).log()
        self.config = PreTrainedConfig(vocab_size=2)

    def base_model(self, input_ids: Tensor, use_cache: bool) -> Any:
        return SimpleNamespace(last_hidden_state=nn.functional.one_hot(input_ids, 2).double())

    def get_output_embeddings(self) -> nn.Module:
        return self.head


@pytest.mark.usefixtures("in_float64")
def test_all_estimators_of_kl_have_the_exact_kl_as_their_mean() -> None:
    # π says 0 with 0.6, π_ref with 0.3. Per state KL = 0.6 ln 2 + 0.4 ln(4/7); a response of at most
    # three tokens goes through 1 + 0.6 + 0.36 states on average, so KL = 1.96 times that
    per_state = 0.6 * math.log(2) + 0.4 * math.log(4 / 7)
    policy, reference = (as_policy(Bigram(p)) for p in (0.6, 0.3))
    mean = {"kl_to_sft": 0.0, "kl_to_sft_k3": 0.0, "kl_to_sft_exact": 0.0}
    total = 0.0
    for response in ([1], [0, 1], [0, 0, 1], [0, 0, 0]):  # all there are
        mask = torch.ones(1, len(response), dtype=torch.bool)
        batch = Batch.of(torch.tensor([[0, *response]]), torch.tensor([1]), mask)
        said = compare((policy, policy.states(batch)), (reference, reference.states(batch)), batch, 1.0)
        probability = float(said.log_prob.sum().exp())
        found = policy_metrics(said.log_prob, said.ref_log_prob, said.entropy, said.kl, mask)
        entropy = -0.6 * math.log(0.6) - 0.4 * math.log(0.4)
        assert float(found["policy/entropy"]) == pytest.approx(entropy, rel=1e-9)
        total += probability
        for name in mean:
            mean[name] += probability * float(found[f"policy/{name}"])
    assert total == pytest.approx(1, rel=1e-9)
    assert mean == pytest.approx(dict.fromkeys(mean, 1.96 * per_state), rel=1e-9)


@given(st.integers(0, 10**6))
def test_k3_is_never_negative(seed: int) -> None:
    rollout = make_rollout(seed=seed)
    zero = torch.zeros_like(rollout.log_prob)
    found = policy_metrics(rollout.log_prob, rollout.ref_log_prob, zero, zero, rollout.mask)
    assert float(found["policy/kl_to_sft_k3"]) >= 0


def test_infinities_are_capped_nan_is_kept_and_both_are_counted() -> None:
    found = finite({"a": math.inf, "b": -math.inf, "c": math.nan, "d": 0.5})
    assert math.isnan(found.pop("c"))
    assert found == {"a": 1e9, "b": -1e9, "d": 0.5, "stability/nonfinite_count": 3.0}


def test_a_stopwatch_adds_up_phases_and_starts_anew_each_lap() -> None:
    watch = Stopwatch()
    for phase in ("sampling", "sampling", "update"):
        with watch(phase):
            pass
    assert set(watch.lap()) == {"time/sampling_seconds", "time/update_seconds"}
    assert watch.lap() == {}


def test_final_metrics_are_means_over_the_last_tenth() -> None:
    history = [(k, {"policy/kl_to_sft": float(k)}) for k in range(20)]
    for at, gold in ((0, 0.1), (5, 0.9), (10, 0.3)):
        history[at][1]["eval/gold"] = gold
    # a tenth of 20 iterations: the mean of 18 and 19; of 3 evaluations: the last one
    assert final_metrics(history) == pytest.approx(
        {"final/gold": 0.3, "final/best_gold": 0.9, "final/kl_to_sft": 18.5}
    )


def trained(prepared: Prepared, folder: Path, **settings: Any) -> Result:
    run = make_run(prepared, folder, PPO_MAX, task=TinyTask(**settings))
    return run.train(ListTracker())


def logged(result: Result) -> set[str]:
    return set(result.final).union(*(metrics for _, metrics in result.history))


def test_the_glossary_lists_what_a_run_with_a_judge_logs_and_nothing_else(
    prepared: Prepared, folder: Path
) -> None:
    assert logged(trained(prepared, folder)) == set(GLOSSARY)


def test_without_a_judge_only_the_gold_metrics_are_missing(prepared: Prepared, folder: Path) -> None:
    missing = set(GLOSSARY) - logged(trained(prepared, folder, has_gold=False))
    assert missing == {"reward/gold", "reward/gap", "eval/gold", "final/gold", "final/best_gold"}


def test_at_the_start_the_policy_is_the_sft_policy(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder, VANILLA)
    first = run.train(ListTracker()).history[0][1]
    gold, proxy = run.evaluator.start.gold, run.evaluator.start.proxy
    assert gold is not None
    assert first["eval/win_rate"] == 0.5  # the same responses: every comparison is a tie
    assert first["eval/gold"] == pytest.approx(sum(gold) / len(gold))
    assert first["eval/proxy"] == pytest.approx(sum(proxy) / len(proxy), rel=1e-5)
    assert first["policy/kl_to_sft"] == pytest.approx(0, abs=1e-5)
    assert first["policy/perplexity"] == pytest.approx(first["policy/reference_perplexity"], rel=1e-5)


def test_wins_ties_and_losses_are_shares_of_prompts_and_a_tie_is_half_a_win() -> None:
    # of four prompts two are won, one tied, one lost: (2 + ½)/4 = 0.625
    found = win_shares([(1.0, 0.0), (2.0, 1.0), (0.5, 0.5), (0.0, 3.0)])
    assert found == {"eval/win_rate": 0.625, "eval/win": 0.5, "eval/tie": 0.25, "eval/loss": 0.25}


def test_held_out_perplexity_is_that_of_a_plain_forward(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder)
    first = run.train(ListTracker()).history[0][1]
    model, nats, count = run.ppo.models.reference.model, 0.0, 0
    for text in run.task.held_out_texts():
        with torch.no_grad():
            log_p = model(torch.tensor([text])).logits[0, :-1].log_softmax(-1)
        nats -= float(log_p[range(len(text) - 1), text[1:]].sum())
        count += len(text) - 1
    assert first["eval/held_out_perplexity"] == pytest.approx(math.exp(nats / count), rel=1e-5)


def test_judges_and_held_out_texts_are_read_in_the_runs_precision(
    prepared: Prepared, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lowered, seen = [False], set()

    @contextmanager
    def autocast(_: Accelerator) -> Iterator[None]:
        lowered[0] = True
        yield
        lowered[0] = False

    class Watched(TinyTask):
        def seat_judge(
            self, folder: Path, device: torch.device, rows_at_once: int | None = None
        ) -> None:
            seen.add(("seat", lowered[0]))

        def gold(self, prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> list[float] | None:
            seen.add(("gold", lowered[0]))
            return super().gold(prompts, responses)

    def nats(*given: Any, **named: Any) -> tuple[float, int]:
        seen.add(("held-out", lowered[0]))
        return held_out_nats(*given, **named)

    monkeypatch.setattr(Accelerator, "autocast", autocast)
    monkeypatch.setattr(evaluation, "held_out_nats", nats)
    judged = replace(prepared, judge=prepared.reward_model)
    make_run(judged, folder, task=Watched()).train(ListTracker())
    assert seen == {("seat", True), ("gold", True), ("held-out", True)}


def test_the_gap_is_in_standard_deviations_of_the_start(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder)
    first = run.train(ListTracker()).history[0][1]
    assert run.evaluator.start.gold is not None
    moved = []
    for now, start in (
        (first["reward/proxy"], run.evaluator.start.proxy),
        (first["reward/gold"], run.evaluator.start.gold),
    ):
        spread = torch.tensor(start, dtype=torch.float64).std()
        moved.append((now - sum(start) / len(start)) / max(float(spread), 1e-6))
    assert first["reward/gap"] == pytest.approx(moved[0] - moved[1], rel=1e-5)


def test_learning_rates_are_those_in_effect(prepared: Prepared, folder: Path) -> None:
    recipe = VANILLA.set({"critic_pretraining.iterations": 2, "learning_rate_warmup.share": 0.5})
    history = make_run(prepared, folder, recipe).train(ListTracker()).history[:4]
    # warm-up over half of 4 iterations: ½, 1; the policy waits for two
    policy = [metrics["ppo/policy_learning_rate"] for _, metrics in history]
    critic = [metrics["ppo/critic_learning_rate"] for _, metrics in history]
    assert policy == pytest.approx([0, 0, 1e-3, 1e-3])
    assert critic == pytest.approx([1e-3, 2e-3, 2e-3, 2e-3])


def test_every_metric_has_unit_estimator_and_source() -> None:
    for name, metric in GLOSSARY.items():
        assert name == metric.name and name.count("/") == 1
        assert all(getattr(metric, field.name) for field in fields(metric))


def test_the_reward_models_correlation_with_gold_is_pearsons() -> None:
    # deviations (−1, 0, 1) and (−1, 1, 0): Σab = 1, √(Σa² Σb²) = 2
    assert correlation([1.0, 2.0, 3.0], [0.0, 2.0, 1.0]) == pytest.approx(0.5, rel=1e-12)
    assert math.isnan(correlation([1.0, 1.0], [0.0, 2.0]))


def test_kinds_of_prompts_add_up_to_all_of_them(prepared: Prepared, folder: Path) -> None:
    run = make_run(prepared, folder)
    last = run.train(ListTracker()).history[-1][1]
    harmful = [run.task.prompt_class(prompt) == "harmful" for prompt in run.evaluator.prompts]
    share = sum(harmful) / len(harmful)
    assert 0 < share < 1
    for name in ("win", "tie", "loss"):
        parts = share * last[f"eval/harmless_{name}"] + (1 - share) * last[f"eval/helpful_{name}"]
        assert last[f"eval/{name}"] == pytest.approx(parts)
