"""What is sampled follows the model, as the library's own sampler does; a wrong sampler is found out."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import product

import pytest
import torch
from scipy.stats import chi2_contingency, chisquare
from torch import Tensor
from torch.testing import assert_close
from transformers import PreTrainedModel

from tests.benchmarks.generate_peer import generate
from tests.builders import EOS, FAMILIES, PAD, WINDOW, as_policy, family, tiny_gpt2
from workbench.loading import small_gpt2
from workbench.sampling import pad_right, sample, uniform
from workbench.tasks.base import Tokens
from workbench.types import Sampling

PROMPT, WORDS, DRAWS = (2, 3), 4, 6000
LIKELY, IMPOSSIBLE = 0.01, 1e-6
"""P-values: a right sampler stays above the first with these seeds, a wrong one below the second."""
Noise = Callable[[Tensor], Tensor]


def exact() -> dict[Tokens, float]:
    """Return the probability of every response of at most two tokens, from plain forwards."""
    model = tiny_gpt2(3, vocabulary=WORDS)

    def following(*said: int) -> list[float]:
        with torch.no_grad():
            logits = model(torch.tensor([[*PROMPT, *said]])).logits[0, -1]
        return list(logits.double().softmax(-1).tolist())

    first = following()
    one = {(EOS,): first[EOS]}
    others = [word for word in range(WORDS) if word != EOS]
    return one | {(a, b): first[a] * following(a)[b] for a, b in product(others, range(WORDS))}


def ours(change: Noise = lambda noise: noise, temperature: float = 1.0) -> list[Tokens]:
    """Sample many responses, with the uniform numbers as they are or changed for the worse."""
    sampling = Sampling(temperature, 2, DRAWS)
    noise = change(uniform(sampling, DRAWS, 0, "distribution"))
    policy = as_policy(tiny_gpt2(3, vocabulary=WORDS))
    samples = sample(policy, [PROMPT] * DRAWS, sampling, eos=EOS, pad=PAD, noise=noise)
    return samples.responses()


def library() -> list[Tokens]:
    """Sample as many with `transformers.generate`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = tiny_gpt2(3, vocabulary=WORDS)
        return generate(model, [PROMPT] * DRAWS, cap=2, eos=EOS, pad=PAD)


def p_value(responses: list[Tokens]) -> float:
    """Test responses against the exact probabilities."""
    expected, counts = exact(), Counter(responses)
    assert set(counts) <= set(expected) and min(expected.values()) * DRAWS > 5
    total = sum(expected.values())
    found = chisquare(
        [counts[response] for response in expected],
        [DRAWS * probability / total for probability in expected.values()],
    )
    return float(found.pvalue)


def test_samples_follow_the_exact_distribution() -> None:
    assert sum(exact().values()) == pytest.approx(1, rel=1e-5)
    assert p_value(ours()) > LIKELY


def test_generate_follows_the_exact_distribution_too() -> None:
    assert p_value(library()) > LIKELY


def test_both_samplers_draw_from_one_distribution() -> None:
    counts = [Counter(ours()), Counter(library())]
    table = [[count[response] for response in exact()] for count in counts]
    assert chi2_contingency(table).pvalue > LIKELY


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda: ours(temperature=1.2), id="another temperature"),
        pytest.param(lambda: ours(lambda u: u[:1].expand(2, -1)), id="the same number at each step"),
        pytest.param(lambda: ours(lambda u: 0.95 * u), id="numbers that never reach 1"),
        pytest.param(lambda: ours(lambda u: u.square()), id="numbers that are not uniform"),
    ],
)
def test_a_wrong_sampler_is_found_out(wrong: Callable[[], list[Tokens]]) -> None:
    assert p_value(wrong()) < IMPOSSIBLE


def wide_gpt2() -> PreTrainedModel:
    """Make a GPT-2 of the quickstart's size, with logits far enough apart to tell tokens."""
    model = small_gpt2(
        vocabulary=241, context=128, width=64, layers=2, heads=4, pad=PAD, eos=EOS, seed=0
    )
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=random))
    return model.eval()


@pytest.mark.parametrize(
    "make",
    [wide_gpt2, tiny_gpt2, *(partial(family, name) for name in FAMILIES)],
    ids=["wide gpt2", "tiny gpt2", *FAMILIES],
)
def test_sampled_log_probabilities_are_those_of_the_librarys_full_forward(
    make: Callable[[], PreTrainedModel],
) -> None:
    model, longest = make(), (4, 5, 6, 7, 8, 9, 10)
    assert len(longest) > WINDOW
    prompts, cap = [(2, 3), longest, (8, 9, 10), (3,)] * 8, 16
    sampling = Sampling(1.0, cap, len(prompts))
    noise = uniform(sampling, len(prompts), 0, "log-probabilities")
    samples = sample(as_policy(model), prompts, sampling, eos=EOS, pad=PAD, noise=noise)
    responses = samples.responses()
    assert len({len(response) for response in responses}) > 1
    whole = [(*prompt, *said) for prompt, said in zip(prompts, responses, strict=True)]
    tokens, length = pad_right(whole, PAD)
    mask = torch.arange(tokens.shape[1]) < length[:, None]
    with torch.no_grad():
        log_prob = model(tokens, attention_mask=mask.long()).logits.log_softmax(-1)
    for row, (prompt, said) in enumerate(zip(prompts, responses, strict=True)):
        at = slice(len(prompt) - 1, len(prompt) + len(said) - 1)
        expected = log_prob[row, at].gather(1, torch.tensor(said)[:, None]).squeeze(1)
        assert_close(samples.log_prob[row, : len(said)], expected, rtol=0, atol=1e-5)
