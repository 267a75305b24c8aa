"""The randomwalks task: the same numbers as trlX's own code, and what the pipeline adds to them.

What is called trlX's was printed by examples/randomwalks/randomwalks.py of CarperAI/trlx, commit
3340c2f, with its defaults: generate_random_walks(seed=1002).
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from workbench.tasks.base import PreferencePair, Tokens
from workbench.tasks.randomwalks import Graph, RandomWalksSettings, RandomWalksTask
from workbench.tasks.randomwalks.preferences import make_pairs, splice
from workbench.tasks.randomwalks.tokenizer import EOS, FIRST_NODE, PAD

TASK = RandomWalksTask()
LETTERS = "abcdefghijklmnopqrstu"
EDGES = "a a ou noqu jor p bq n np gmqr air cdu h b st imn kmp mp en b a"
"""Where an edge leads from each node, in order."""
SHORTEST = [2, 3, 3, 5, 5, 3, 4, 4, 4, 2, 3, 5, 3, 4, 4, 3, 5, 4, 3, 2]
"""Nodes of the shortest walk from b, c, d, …"""
WALKS = "oseotba qka jrmhnba cua qkinba rmhnba tba cotba mhnba gqka qpnba tba"
OPTIMALITY = {
    "ba": 1, "cua": 1, "ka": 1, "jgba": 1, "eotba": 1, "kaaa": 1, "hnba": 1,
    "cotba": 0.7142857, "jgqka": 0.8333333, "jrmhnba": 0.5, "eoseotba": 0.4, "dqka": 0.8571429,
    "eosejgqka": 0.2, "eosejgqkai": 0.2,  # what comes after the goal does not count
    "ca": 0, "kba": 0, "jga": 0, "coba": 0, "oseosnotba": 0, "dqkira": 0,  # no edge, or a detour of ten
    "pipipipipi": 0, "c": 0, "cu": 0,  # not there
}  # fmt: skip


def tokens(walk: str) -> Tokens:
    return tuple(FIRST_NODE + LETTERS.index(letter) for letter in walk)


def respond(prompts: Sequence[Tokens], seed: int) -> list[Tokens]:
    """Stand in for the SFT policy: a walk of the task from each prompt."""
    rng = random.Random(seed)
    by_start: dict[Tokens, list[Tokens]] = {}
    for shown in TASK.demonstrations():
        by_start.setdefault(shown.prompt, []).append(shown.response)
    return [rng.choice(by_start[prompt]) for prompt in prompts]


def pairs(spliced: float, temperature: float = 0.0) -> list[PreferencePair]:
    return make_pairs(
        TASK.train_prompts(), 400, spliced=spliced, temperature=temperature, seed=0,
        respond=respond, score=TASK.gold,
    )  # fmt: skip


def gold(walk: str) -> float:
    return TASK.gold([tokens(walk[:1])], [(*tokens(walk[1:]), EOS)])[0]


def test_the_graph_is_that_of_trlx() -> None:
    rows = ["".join(LETTERS[node] for node in np.flatnonzero(row)) for row in TASK.graph.edges]
    assert " ".join(rows) == EDGES


def test_the_shortest_walks_are_as_long_as_those_of_trlx() -> None:
    assert TASK.graph.shortest[1:] == SHORTEST


def test_the_walks_are_those_of_trlx() -> None:
    texts = [TASK.tokenizer.decode(walk, skip_special_tokens=True) for walk in TASK.pretraining_texts()]
    assert len(texts) == 1000
    assert texts[:12] == WALKS.split()
    assert " ".join(texts[-3:]) == "tba ipipinba lua"
    assert all(walk[-1] == EOS for walk in TASK.pretraining_texts())


@pytest.mark.parametrize("walk", OPTIMALITY)
def test_optimality_is_that_of_trlx(walk: str) -> None:
    assert gold(walk) == pytest.approx(OPTIMALITY[walk], abs=1e-6)


def test_the_mean_optimality_of_all_walks_is_that_of_trlx() -> None:
    shown = TASK.demonstrations()
    scores = TASK.gold([d.prompt for d in shown], [d.response for d in shown])
    assert np.mean(scores) == pytest.approx(0.7901798, abs=1e-6)


def test_only_the_first_ten_nodes_count_as_trlx_samples_no_more() -> None:
    assert gold("pinba") == 5 / 6
    assert gold("pipipipipinba") == 0


def test_tokens_that_are_no_letters_are_left_out_as_by_the_decoding_of_trlx() -> None:
    assert TASK.gold([tokens("b")], [(PAD, *tokens("a"), EOS)]) == [1.0]


def test_where_no_walk_is_shorter_than_the_longest_every_walk_is_worth_nothing() -> None:
    # 2 → 1 → 0: from 2 the goal takes three nodes, which with at most three is 0/0 in trlX
    graph = Graph(np.array([[True, False, False], [True, False, False], [False, True, False]]), 3)
    assert graph.shortest == [1, 2, 3]
    assert graph.optimality([2, 1, 0]) == 0
    assert graph.optimality([1, 0]) == 1


def test_the_tokenizer_reads_and_writes_a_letter_per_node() -> None:
    tokenizer = TASK.tokenizer
    assert len(tokenizer) == 23
    assert tuple(tokenizer("bka")["input_ids"]) == tokens("bka")
    assert tokenizer.decode((*tokens("bka"), EOS), skip_special_tokens=True) == "bka"
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (PAD, EOS)


def test_prompts_are_all_nodes_but_the_goal_and_evaluations_ask_each_as_often() -> None:
    assert TASK.train_prompts() == [tokens(letter) for letter in LETTERS[1:]]
    assert Counter(TASK.eval_prompts()) == dict.fromkeys(TASK.train_prompts(), 6)


def test_held_out_walks_follow_edges_and_none_is_trained_on() -> None:
    held_out, trained = TASK.held_out_texts(), set(TASK.pretraining_texts())
    assert len(held_out) == 55
    assert len(set(held_out)) == len(held_out)
    assert not trained & set(held_out)
    for walk in held_out:
        nodes = [token - FIRST_NODE for token in walk[:-1]]
        assert all(TASK.graph.edges[one, other] for one, other in pairwise(nodes))


def test_another_seed_is_another_graph() -> None:
    other = RandomWalksTask(RandomWalksSettings(seed=7))
    assert not np.array_equal(other.graph.edges, TASK.graph.edges)
    assert other.fingerprint() != TASK.fingerprint()


def test_the_better_walk_is_preferred_and_ties_are_left_out() -> None:
    found = pairs(spliced=0.5)
    assert 50 < len(found) < 400
    for pair in found:
        better, worse = TASK.gold([pair.prompt] * 2, [pair.chosen, pair.rejected])
        assert better > worse
    noisy = pairs(spliced=0.5, temperature=10.0)
    wrong = [p for p in noisy if TASK.gold([p.prompt], [p.chosen]) < TASK.gold([p.prompt], [p.rejected])]
    assert len(noisy) == len(found)
    assert 0.3 < len(wrong) / len(noisy) < 0.6


def is_walk(pair: PreferencePair, response: Tokens) -> bool:
    nodes = [token - FIRST_NODE for token in (*pair.prompt, *response) if token >= FIRST_NODE]
    return all(TASK.graph.edges[one, other] for one, other in pairwise(nodes))


def test_steps_without_an_edge_are_compared_only_where_walks_are_spliced() -> None:
    def broken(spliced: float) -> int:
        return sum(not is_walk(p, r) for p in pairs(spliced) for r in (p.chosen, p.rejected))

    assert broken(0.0) == 0
    assert broken(0.5) > 50


def test_a_splice_keeps_the_beginning_of_one_walk_and_the_end_of_the_other() -> None:
    made = {splice((1, 2, 3), (7, 8, 9, 10), random.Random(seed)) for seed in range(50)}
    assert made == {(7, 8, 9, 10), (1, 8, 9, 10), (1, 2, 9, 10)}


def test_no_held_out_pair_is_trained_on() -> None:
    task = RandomWalksTask(RandomWalksSettings(preference_pairs=2_000, held_out_pairs=500))
    preferences = task.preferences(respond)
    known = {(p.prompt, frozenset((p.chosen, p.rejected))) for p in preferences.train}
    assert preferences.held_out
    assert not known & {(p.prompt, frozenset((p.chosen, p.rejected))) for p in preferences.held_out}


def test_a_graph_with_one_walk_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"^all 1000 held-out walks are among the 1000 to train on; "):
        RandomWalksTask(RandomWalksSettings(nodes=2))


def test_the_page_lists_every_setting_with_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs" / "randomwalks.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", page, re.M)
    fields = RandomWalksSettings.model_fields.items()
    documented = [(name, default.replace(",", ""), meaning) for name, default, meaning in rows]
    assert documented == [(name, str(field.default), field.description) for name, field in fields]
