"""Measure a policy on held-out prompts and language, always with the same random numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from workbench.models import Policy
from workbench.parallel import Share
from workbench.sampling import sample, uniform
from workbench.stages.ppo import Ppo
from workbench.stages.pretrain import held_out_nats, perplexity
from workbench.stages.reward_model import score_rows
from workbench.tasks.base import Task, Tokens
from workbench.textbook import textbook_sampling

SAMPLE_ROWS = 16
"""Held-out prompts whose responses are kept as text."""


@dataclass(frozen=True)
class Judged:
    """Responses to the held-out prompts and what the judges say of them."""

    responses: list[Tokens]
    proxy: list[float]
    gold: list[float] | None

    @property
    def verdict(self) -> list[float]:
        """The score that decides who wins: gold, or the reward model where there is no gold judge."""
        return self.gold if self.gold is not None else self.proxy


@dataclass(frozen=True)
class Evaluator:
    """The held-out part of a task, for one run.

    Attributes:
        task: held-out prompts and texts, perhaps a gold judge.
        ppo: the run's models.
        wanted: held-out prompts to use.
    """

    task: Task
    ppo: Ppo
    wanted: int

    @property
    def policy(self) -> Policy:
        """What is measured: the policy, or its moving average where the recipe keeps one."""
        return self.ppo.models.average or self.ppo.models.policy

    @cached_property
    def prompts(self) -> list[Tokens]:
        """An even spread over the task's held-out prompts, so that every kind is among them."""
        every = self.task.eval_prompts()
        stride = max(1.0, len(every) / self.wanted)
        return [every[int(i * stride)] for i in range(min(self.wanted, len(every)))]

    @cached_property
    def start(self) -> Judged:
        """What the SFT policy answers, and what the judges say of it."""
        return self.judge(self.ppo.models.sft)

    @torch.no_grad()
    def judge(self, policy: Policy) -> Judged:
        """Let a policy answer the held-out prompts; several processes share them."""
        ppo, share = self.ppo, Share.of(len(self.prompts))
        sampling = textbook_sampling(ppo.settings, len(self.prompts))
        noise = uniform(sampling, len(self.prompts), ppo.seed, "evaluation")[:, share.rows]
        prompts = self.prompts[share.rows]
        with ppo.accelerator.autocast():
            samples = sample(policy, prompts, sampling, eos=ppo.eos, pad=ppo.pad, noise=noise)
            answers = samples.responses()
            rows = [(*prompt, *response) for prompt, response in zip(prompts, answers, strict=True)]
            scores = score_rows(ppo.models.reward_model, rows, ppo.pad).tolist()
        responses, proxy = share.gather_list(answers), share.gather_list(scores)
        with ppo.accelerator.autocast():
            gold = self.task.gold(self.prompts, responses)
        return Judged(responses, proxy, gold)

    def metrics(self) -> dict[str, float]:
        """Measure the policy as it is: `eval/*`."""
        judged = self.judge(self.policy)
        metrics = {
            "eval/proxy": mean(judged.proxy),
            **self._win_shares(judged),
            "eval/held_out_perplexity": self._perplexity(self.policy),
        }
        return metrics | ({"eval/gold": mean(judged.gold)} if judged.gold is not None else {})

    def _win_shares(self, judged: Judged) -> dict[str, float]:
        """Compare with the SFT policy: on all prompts, and where some are harmful, on both kinds."""
        pairs = list(zip(judged.verdict, self.start.verdict, strict=True))
        shares = win_shares(pairs)
        if len(set(self._is_harmful)) < 2:
            return shares
        for kind, is_kind in (("harmless", True), ("helpful", False)):
            own = [pair for pair, harm in zip(pairs, self._is_harmful, strict=True) if harm == is_kind]
            told = win_shares(own)
            shares |= {f"eval/{kind}_{name}": told[f"eval/{name}"] for name in ("win", "tie", "loss")}
        return shares

    @cached_property
    def _is_harmful(self) -> list[bool]:
        """Whether each held-out prompt asks for harm."""
        return [self.task.prompt_class(prompt) == "harmful" for prompt in self.prompts]

    def gap(self, proxy: float, gold: float) -> float:
        """Say how much further proxy has risen than gold, each in deviations of the SFT start."""
        return _standardised(proxy, self.start.proxy) - _standardised(gold, self.start.verdict)

    def gold_error(self) -> float | None:
        """Return the standard error of the SFT start's gold score; None without a judge."""
        gold = self.start.gold
        return deviation(gold) / math.sqrt(len(gold)) if gold else None

    def facts(self) -> dict[str, float | None]:
        """Describe the SFT policy on the held-out prompts, for the study's `workbench.prepared` tag."""
        start = self.start
        return {
            "proxy": mean(start.proxy),
            "proxy_std": deviation(start.proxy),
            "gold": mean(start.gold) if start.gold else None,
            "gold_std": deviation(start.gold) if start.gold else None,
            "gold_correlation": correlation(start.proxy, start.gold) if start.gold else None,
            "response_length": mean([float(len(response)) for response in start.responses]),
            "held_out_perplexity": self._perplexity(self.ppo.models.sft),
        }

    def samples(self, iteration: int) -> dict[str, list[Any]]:
        """Tabulate responses before and after to some held-out prompts."""
        judged, start = self.judge(self.policy), self.start
        kept = range(min(SAMPLE_ROWS, len(judged.responses)))
        table: dict[str, list[Any]] = {
            "iteration": [iteration for _ in kept],
            "prompt": [self._text(self.prompts[i]) for i in kept],
            "sft_response": [self._text(start.responses[i]) for i in kept],
            "response": [self._text(judged.responses[i]) for i in kept],
            "sft_proxy": [start.proxy[i] for i in kept],
            "proxy": [judged.proxy[i] for i in kept],
        }
        if judged.gold is not None and start.gold is not None:
            table |= {"sft_gold": [start.gold[i] for i in kept], "gold": [judged.gold[i] for i in kept]}
        return table

    @cached_property
    def _held_out(self) -> list[Tokens]:
        return self.task.held_out_texts()

    def _perplexity(self, policy: Policy) -> float:
        share, device = Share.of(len(self._held_out)), self.ppo.accelerator.device
        with self.ppo.accelerator.autocast():
            mine = held_out_nats(policy, self._held_out[share.rows], pad=self.ppo.pad)
        nats, tokens = share.total(torch.tensor(mine, dtype=torch.float64, device=device)).tolist()
        return perplexity(nats, tokens)

    def _text(self, tokens: Tokens) -> str:
        text: str = self.task.tokenizer.decode(tokens, skip_special_tokens=True)
        return text


def win_shares(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Return the shares of (new, old) scores won, tied and lost; in the win rate a tie counts ½."""
    win = mean([float(one > other) for one, other in pairs])
    tie = mean([float(one == other) for one, other in pairs])
    loss = mean([float(one < other) for one, other in pairs])
    return {"eval/win_rate": win + tie / 2, "eval/win": win, "eval/tie": tie, "eval/loss": loss}


def mean(values: Sequence[float]) -> float:
    """Average; NaN of nothing."""
    return sum(values) / len(values) if values else math.nan


def deviation(values: Sequence[float]) -> float:
    """Take the unbiased standard deviation; 0 of fewer than two values."""
    return float(torch.tensor(values, dtype=torch.float64).std()) if len(values) > 1 else 0.0


def correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Take Pearson's correlation; NaN where one of the two does not vary."""
    pair = torch.tensor([list(one), list(other)], dtype=torch.float64)
    return float(torch.corrcoef(pair)[0, 1])


def _standardised(value: float, start: Sequence[float]) -> float:
    return (value - mean(start)) / max(deviation(start), 1e-6)
