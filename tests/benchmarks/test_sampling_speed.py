"""The comparison of samplers lets both answer the same prompts with the same model."""

from pathlib import Path

import torch

from tests.benchmarks.cases import Case, Size
from tests.benchmarks.common import make_common
from tests.benchmarks.generate_peer import generate
from tests.benchmarks.sampling_speed import library_sampler, measure, table, workbench_sampler
from tests.builders import EOS, PAD, tiny_gpt2

SIZE = Size(width=8, layers=1, heads=2, prompts=6, cap=5, sft_steps=1)
CASE = Case("tiny-t1", SIZE, iterations=1)


def test_both_samplers_answer_every_prompt_up_to_the_cap_and_no_further_than_the_end(
    tmp_path: Path,
) -> None:
    common = make_common(SIZE, tmp_path)
    eos = int(common.task.tokenizer.eos_token_id)
    for sampler in (workbench_sampler(common), library_sampler(common)):
        responses = sampler(0)
        assert len(responses) == SIZE.prompts and sampler(0) == responses != sampler(1)
        assert all(1 <= len(response) <= SIZE.cap for response in responses)
        assert all(eos not in response[:-1] for response in responses)


def test_a_measurement_has_a_ratio_per_pair_of_batches(tmp_path: Path) -> None:
    found = measure(CASE, make_common(SIZE, tmp_path), blocks=3, seconds=60.0)
    assert len(found.ours) == len(found.library) == 3
    ratios = [theirs / ours for ours, theirs in zip(found.ours, found.library, strict=True)]
    assert (found.ratio.low, found.ratio.high) == (min(ratios), max(ratios))
    heading, row = table([found])
    assert len(heading) == len(row) and row[-1] == "3"


def test_generate_says_the_same_to_a_prompt_whatever_the_length_of_its_neighbours() -> None:
    model = tiny_gpt2()
    model.generation_config.top_k = 3  # a processor that the settings must overrule

    def counts(prompts: list[tuple[int, ...]]) -> torch.Tensor:
        torch.manual_seed(0)
        said = generate(model, prompts, cap=1, eos=EOS, pad=PAD)
        words = torch.tensor([response[0] for response in said[: len(said) // 2]])
        return torch.bincount(words, minlength=12) / len(words)

    alone = counts([(2, 3)] * 4000)
    beside = counts([(2, 3)] * 2000 + [(4, 5, 6, 7, 8)] * 2000)
    with torch.no_grad():
        exact = model(torch.tensor([[2, 3]])).logits[0, -1].softmax(-1)
    assert int((exact > 0.01).sum()) > 3
    for found in (alone, beside):
        assert float((found - exact).abs().max()) < 0.05
