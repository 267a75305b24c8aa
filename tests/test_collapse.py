"""The collapse rule on histories made by hand."""

from math import inf, nan
from typing import Any

import pytest

from workbench.checkpoint import Record
from workbench.collapse import Collapse, CollapseWatch, find_collapse
from workbench.settings import CollapseRule

GOLD_ERROR = 0.1
"""Two of these below the start, 1.0 − 0.2, is the line."""


def evaluated(*pairs: tuple[float, float]) -> list[Record]:
    """Make a history with an evaluation (gold, proxy) every second iteration."""
    history: list[Record] = []
    for index, (gold, proxy) in enumerate(pairs):
        evaluation = {"eval/gold": gold, "eval/proxy": proxy}
        history += [(2 * index, monitored() | evaluation), (2 * index + 1, monitored())]
    return history


def monitored(
    distinct: float = 0.9, truncated: float = 0.0, perplexity: float = 4.0
) -> dict[str, float]:
    return {
        "policy/kl_to_sft": 1.0,
        "policy/distinct": distinct,
        "policy/truncated": truncated,
        "policy/perplexity": perplexity,
    }


def unjudged(*records: dict[str, float]) -> list[Record]:
    return list(enumerate([monitored(), *records]))


def test_two_evaluations_below_gold_and_above_proxy_are_a_collapse() -> None:
    found = find_collapse(evaluated((1, 0), (1, 1), (0.7, 2), (0.6, 3)), GOLD_ERROR)
    assert found is not None and found.iteration == 4
    assert "gold" in found.reason


def test_a_single_bad_evaluation_is_none() -> None:
    assert find_collapse(evaluated((1, 0), (0.7, 2), (1, 2), (0.7, 2)), GOLD_ERROR) is None


def test_a_fall_within_two_standard_errors_is_none() -> None:
    assert find_collapse(evaluated((1, 0), (0.81, 2), (0.81, 2)), GOLD_ERROR) is None


def test_a_fall_of_gold_without_a_rise_of_the_proxy_is_none() -> None:
    assert find_collapse(evaluated((1, 0), (0.2, -1), (0.2, -1)), GOLD_ERROR) is None


def test_with_a_judge_the_monitors_do_not_decide() -> None:
    history = evaluated((1, 0), (1, 0))
    history += [(9 + k, monitored(distinct=0.1)) for k in range(8)]
    assert find_collapse(history, GOLD_ERROR) is None


def test_without_a_judge_five_iterations_of_few_distinct_responses_are_a_collapse() -> None:
    found = find_collapse(unjudged(monitored(), *[monitored(distinct=0.44)] * 5), None)
    assert found == Collapse(2, "fewer than half as many distinct responses")


def test_four_iterations_in_a_row_are_none() -> None:
    bad = [monitored(distinct=0.44)] * 4
    assert find_collapse(unjudged(*bad, monitored(), *bad), None) is None


def test_without_a_judge_responses_cut_at_the_cap_are_a_collapse() -> None:
    found = find_collapse(unjudged(*[monitored(truncated=0.51)] * 5), None)
    assert found == Collapse(1, "more than half of the responses cut at the cap")
    assert find_collapse(unjudged(*[monitored(truncated=0.49)] * 9), None) is None


def test_without_a_judge_perplexity_off_by_two_either_way_is_a_collapse() -> None:
    for perplexity in (1.9, 8.1):
        found = find_collapse(unjudged(*[monitored(perplexity=perplexity)] * 5), None)
        assert found == Collapse(1, "perplexity off by a factor of two")
    assert find_collapse(unjudged(*[monitored(perplexity=7.9)] * 9), None) is None


def test_the_earliest_of_several_rules_is_told() -> None:
    history = unjudged(*[monitored(truncated=0.9)] * 3, *[monitored(0.1, 0.9)] * 5)
    assert find_collapse(history, None) == Collapse(1, "more than half of the responses cut at the cap")


def test_numbers_that_are_no_longer_finite_are_a_collapse_under_either_rule() -> None:
    for broken in (nan, inf, 1e9):  # infinities are logged as 1e9
        history = [*evaluated((1, 0)), (7, monitored() | {"policy/kl_to_sft": broken})]
        for error in (GOLD_ERROR, None):
            found = find_collapse(history, error)
            assert found == Collapse(7, "the policy's numbers are no longer finite")


def test_an_empty_or_quiet_history_is_none() -> None:
    for error in (GOLD_ERROR, None):
        assert find_collapse([], error) is None
        assert find_collapse(unjudged(*[monitored()] * 20), error) is None


def test_a_fall_of_gold_before_the_numbers_run_away_is_the_collapse() -> None:
    history = evaluated((1, 0), (1, 1), (0.7, 2), (0.6, 3))
    history.append((8, monitored() | {"policy/kl_to_sft": nan}))
    found = find_collapse(history, GOLD_ERROR)
    assert found is not None and found.iteration == 4


def test_of_two_rows_the_first_is_told() -> None:
    bad = [monitored(distinct=0.44)] * 5
    found = find_collapse(unjudged(*bad, monitored(), *bad), None)
    assert found == Collapse(1, "fewer than half as many distinct responses")


@pytest.mark.parametrize(
    ("rule", "held", "collapsed", "reason"),
    [
        # 0.9 · ⅓ = 0.3
        (
            {"distinct_share": 1 / 3},
            {"distinct": 0.31},
            {"distinct": 0.29},
            "fewer than 33.3333 % as many",
        ),
        ({"truncated_rise": 0.2}, {"truncated": 0.19}, {"truncated": 0.21}, "more than 20 % of the"),
        ({"perplexity_factor": 3}, {"perplexity": 11.9}, {"perplexity": 12.1}, "off by a factor of 3"),
        ({"perplexity_factor": 3}, {"perplexity": 1.34}, {"perplexity": 1.33}, "off by a factor of 3"),
    ],
)
def test_each_number_of_the_monitors_rule_can_be_set(
    rule: dict[str, float], held: dict[str, float], collapsed: dict[str, float], reason: str
) -> None:
    numbers = CollapseRule(**rule)
    assert find_collapse(unjudged(*[monitored(**held)] * 9), None, numbers) is None
    found = find_collapse(unjudged(*[monitored(**collapsed)] * 5), None, numbers)
    assert found is not None and found.iteration == 1
    assert reason in found.reason


def test_how_long_it_has_to_last_can_be_set() -> None:
    few, fall = unjudged(*[monitored(distinct=0.44)] * 3), evaluated((1, 0), *[(0.7, 2)] * 3)
    for wanted, is_collapse in ((3, True), (4, False)):
        rule = CollapseRule(iterations_in_a_row=wanted, evaluations_in_a_row=wanted)
        assert (find_collapse(few, None, rule) is not None) is is_collapse
        assert (find_collapse(fall, GOLD_ERROR, rule) is not None) is is_collapse


def test_the_margin_of_gold_can_be_set() -> None:
    for gold, is_collapse in ((0.71, False), (0.69, True)):  # 1 − 3 · 0.1 = 0.7
        history = evaluated((1, 0), (gold, 2), (gold, 2))
        found = find_collapse(history, GOLD_ERROR, CollapseRule(standard_errors=3))
        assert (found is not None) is is_collapse


@pytest.mark.parametrize(
    ("history", "gold_error", "noticed"),
    [
        (evaluated((1, 0), (0.7, 1), (0.7, 1), (0.7, 1)), GOLD_ERROR, 4),  # bad at 2 and 4
        (unjudged(*[monitored(distinct=0.1)] * 7), None, 5),  # bad from 1 on
        (unjudged(monitored(), monitored() | {"policy/kl_to_sft": nan}), None, 2),
        (unjudged(*[monitored()] * 7), None, None),
    ],
)
def test_a_collapse_is_noticed_with_the_record_that_completes_the_row(
    history: list[Record], gold_error: float | None, noticed: int | None
) -> None:
    watch, known = CollapseWatch(CollapseRule(), gold_error), []
    for done, record in enumerate(history, start=1):
        watch.see(record)
        assert watch.collapse == find_collapse(history[:done], gold_error)
        known += [record[0]] if watch.collapse else []
    assert watch.noticed == noticed == (known[0] if known else None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"standard_errors": -1}, {"evaluations_in_a_row": 0}, {"distinct_share": 1.1},
        {"truncated_rise": -0.1}, {"perplexity_factor": 0.9}, {"iterations_in_a_row": 0},
    ],
)  # fmt: skip
def test_a_rule_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CollapseRule(**wrong)
