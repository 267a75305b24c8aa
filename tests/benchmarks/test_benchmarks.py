"""The benchmark compares like with like, and counts what it says it counts."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.benchmarks.cases import Case, Size
from tests.benchmarks.common import Common, joined, make_common
from tests.benchmarks.floor import Shape, forward_flops, iteration_flops, matrix_rates
from tests.benchmarks.measurement import PASSES, Block, Measurement, measure
from tests.benchmarks.ours import Ours, make_ppo
from tests.benchmarks.page import PAGE, markdown, marks, write_part
from tests.benchmarks.peak_memory import own_peak, peak_memory
from tests.benchmarks.report import as_json, comparison, profile
from tests.benchmarks.trl_peer import Trl, ppo_trainer
from workbench.forward import compare
from workbench.models import Batch
from workbench.packing import Rows
from workbench.sampling import pad_right

TINY = Size(width=8, layers=1, heads=2, prompts=8, minibatches=2, cap=6, sft_steps=1)
CASE = Case("tiny-t1", TINY, iterations=2)
PARTS = ("ppo_speed", "sampling_speed", "quickstart", "logits_memory", "gpu")
HAND = Shape(width=2, layers=1, inner=8, vocabulary=3)


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Common:
    return make_common(TINY, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def measured(common: Common, tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    folder = tmp_path_factory.mktemp("trl")
    return measure(CASE, common, folder, blocks=1, seconds=60.0)


def test_forward_flops_equal_the_count_by_hand() -> None:
    # Weights of a block: 4·2² + 2·2·8 = 48. Two tokens: 2·2·48 = 192.
    # Attention: token 1 sees 1, token 2 sees 2, so 3 pairs, times 2 products of 2·2 operations: 24.
    # Head: 2 positions × 3 classes × 2 wide × 2 = 24.
    assert forward_flops(HAND, tokens=2, outputs=2, classes=3) == 192 + 24 + 24


def test_iteration_flops_equal_the_count_by_hand() -> None:
    # One prompt token, two response tokens: the last one is read by the reward model only.
    # Trunk on 2 tokens 216, on 3 tokens 2·3·48 + 4·2·6 = 336; heads: 24 policy, 8 critic, 4 reward.
    assert iteration_flops(HAND, [(1, 2)]) == {
        "sampling": 240,
        "reference": 240,
        "critic": 224,
        "reward model": 340,
        "policy update": 720,
        "critic update": 672,
    }


def test_iteration_flops_grow_with_responses_and_only_the_update_with_epochs() -> None:
    once = iteration_flops(HAND, [(1, 2), (1, 2)])
    twice = iteration_flops(HAND, [(1, 2), (1, 2)], epochs=2)
    assert once == {name: 2 * count for name, count in iteration_flops(HAND, [(1, 2)]).items()}
    changed = {name for name in once if once[name] != twice[name]}
    assert changed == {"policy update", "critic update"}


def test_matrix_rates_are_plausible_numbers_of_operations_per_second() -> None:
    rates = matrix_rates(8, seconds=0.01)
    assert "torch.mm" in rates and all(1e7 < rate < 1e14 for rate in rates.values())


def test_both_sides_say_the_same_of_the_same_tokens(common: Common, tmp_path: Path) -> None:
    ours, trl = make_ppo(common).models, Trl(common, tmp_path).trainer
    pad = int(common.task.tokenizer.pad_token_id)
    tokens, length = pad_right(common.prompts, pad)
    mask = torch.arange(1, tokens.shape[1]) < length[:, None]
    batch = Batch.of(tokens, torch.ones_like(length), mask)  # all but the first token are evaluated
    with torch.no_grad():
        for policy, theirs in ((ours.policy, trl.model.policy), (ours.reference, trl.ref_model)):
            pair = policy, policy.states(batch)
            log_prob = compare(pair, pair, batch, 1.0).log_prob
            logits = ppo_trainer.forward(theirs, tokens, pad).logits[:, :-1]
            expected = ppo_trainer.selective_log_softmax(logits, tokens[:, 1:])
            torch.testing.assert_close(log_prob[mask], expected[mask], rtol=1e-5, atol=1e-6)
        full_value, _, _ = ppo_trainer.get_reward(trl.value_model, tokens, pad, 0)
        expected = full_value[:, :-1].squeeze(-1)
        torch.testing.assert_close(ours.critic(batch)[mask], expected[mask], rtol=1e-5, atol=1e-6)
        _, score, _ = ppo_trainer.get_reward(trl.reward_model, tokens, pad, 0)
        raw = ours.reward_model.last(Rows(tokens, length))
        torch.testing.assert_close(raw, score, rtol=1e-5, atol=1e-6)


def test_no_iteration_moves_a_weight(common: Common, tmp_path: Path) -> None:
    ppo, trl = make_ppo(common), Trl(common, tmp_path)
    ppo.iteration(0, common.prompts)
    trl.block(1)
    start = make_ppo(common).models.policy.model.state_dict()
    for policy in (ppo.models.policy.model, trl.trainer.model.policy):
        for name, weight in policy.state_dict().items():
            torch.testing.assert_close(weight, start[name], rtol=0, atol=1e-10)


def test_a_tiny_comparison_gives_finite_positive_numbers(measured: Measurement) -> None:
    (block,) = measured.blocks
    assert len(block.ours) == len(block.trl) == 2
    ratios = (block.trl_ratio, block.trl_ratio_without_collection, block.floor_ratio)
    for number in (*block.ours, *block.trl, block.rate, block.floor_seconds, *ratios):
        assert math.isfinite(number) and number > 0
    assert 1 <= measured.response_tokens["ours"] <= TINY.cap
    assert 1 <= measured.response_tokens["trl"] <= TINY.cap
    assert as_json(measured)["trl_ratio"]["median"] == block.trl_ratio


def test_peak_memory_is_of_the_child_alone(common: Common) -> None:
    held = torch.ones(2**26)  # 256 MiB in this process, which the child must not report
    child, here = peak_memory("ours", CASE, common.policy.parent), own_peak()
    assert 100 < child < here - 100
    assert held.nbytes == 2**28


def test_ratios_follow_from_seconds_operations_and_rate() -> None:
    # Ours 0.5 s, TRL 2 s of which 1 s garbage collection, floor 100 / 200 = 0.5 s, by oneDNN 0.25 s.
    rates, flops = {"torch.mm": 200.0, "oneDNN": 400.0}, {"sampling": 60.0, "reference": 40.0}
    block = Block([0.4, 0.6], [1.0, 3.0], 1.0, flops, rates)
    assert (block.trl_ratio, block.trl_ratio_without_collection) == (4.0, 2.0)
    assert (block.floor_ratio, block.floor_ratio_of_fastest) == (1.0, 2.0)
    last_line = Measurement(CASE, [block]).last_line()
    assert last_line == "trl_ratio=4.00 floor_ratio=1.00 floor_ratio_of_fastest=2.00"


def test_a_measurement_survives_json(measured: Measurement) -> None:
    again = Measurement.from_json(json.loads(json.dumps(as_json(measured))))
    assert again == measured


def test_tables_have_a_row_per_case_and_the_shares_of_the_iteration(measured: Measurement) -> None:
    for rows in (comparison([measured, measured]), profile([measured, measured])):
        heading, first, second = rows
        assert first == second and len(heading) == len(first)
    share = measured.phases["update"].median / measured.iterations("ours").median
    assert f"({share:.0%})" in profile([measured])[1][list(PASSES).index("update") + 1]


def test_write_part_keeps_what_was_written_by_hand(tmp_path: Path) -> None:
    page, (begin, end) = tmp_path / "benchmarks.md", marks("speed")
    page.write_text(f"before\n{begin}\nyesterday\n{end}\nafter\n")
    write_part("speed", ["today", markdown([("case", "value"), ("a", "1")])], page)
    table = "| case | value |\n|---|--:|\n| a | 1 |"
    assert page.read_text() == f"before\n{begin}\ntoday\n\n{table}\n{end}\nafter\n"


def test_write_part_refuses_a_page_without_its_place(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("nothing\n")
    with pytest.raises(ValueError, match="must have the lines"):
        write_part("speed", ["today"], page)


def test_the_page_has_a_place_for_every_benchmark_that_writes() -> None:
    text = PAGE.read_text()
    assert all(mark in text for part in PARTS for mark in marks(part))


def test_joined_demonstrations_hold_longer_responses_with_one_end_token(common: Common) -> None:
    shown, eos = common.task.demonstrations()[:8], int(common.task.tokenizer.eos_token_id)
    first, second = joined(shown, replace(TINY, joined=4, cap=1000))
    assert first.prompt == shown[0].prompt and first.response.count(eos) == 1
    assert len(first.response) == sum(len(part.response) for part in shown[:4]) - 3
    cut = joined(shown, replace(TINY, joined=4, cap=20))[1].response
    assert cut == second.response[:20]


def test_fresh_weights_know_the_larger_vocabulary(tmp_path: Path) -> None:
    size = replace(TINY, sft_steps=0, vocabulary=500, cap=12)
    common = make_common(size, tmp_path)
    ours = Ours(common)
    ours.block(1)
    assert ours.ppo.models.policy.model.config.vocab_size == 500
    assert ours.gold_seconds == []
    assert sum(ours.response_tokens()) > 0.8 * size.prompts * size.cap
