import numpy as np

from analysis.frontier import FRONTIER_COLUMNS, arm_points, frontier_sentence, on_frontier
from analysis.runs import Study
from tests.analysis.made_study import made_study

GOLD, KL = "final/gold", "final/kl_to_sft"


def arms_at(points: dict[str, tuple[float, float]], noise: float) -> Study:
    rng = np.random.default_rng(0)
    kl, gold = (np.array([[p[at] for p in points.values()]]) for at in (0, 1))
    shake = noise * rng.normal(size=(2, 5, len(points)))
    return made_study({KL: kl + shake[0], GOLD: gold + shake[1]}, list(points))


POINTS = {"near": (1.0, 1.0), "far": (9.0, 3.0), "poor": (9.5, 2.0), "middle": (5.0, 2.5)}


def test_the_frontier_has_the_arms_that_no_other_beats_by_kl() -> None:
    table = on_frontier(arm_points(arms_at(POINTS, noise=0.01)))
    assert table["arm"].tolist() == ["near", "middle", "far"]
    assert (table["share"] == 1.0).all()
    assert (table["kl_low"] < table["kl"]).all() and (table["gold"] < table["gold_high"]).all()
    assert list(table.columns) == FRONTIER_COLUMNS


def test_an_arm_on_the_frontier_by_chance_is_so_in_some_resamples() -> None:
    table = arm_points(arms_at({**POINTS, "poor": (9.5, 2.9)}, noise=0.7)).set_index("arm")
    assert 0.0 < table.loc["poor", "share"] < table.loc["near", "share"]


def test_equal_arms_are_all_on_the_frontier() -> None:
    points = arm_points(arms_at({"a": (1.0, 1.0), "b": (1.0, 1.0)}, noise=0.0))
    assert points["is_efficient"].all() and (points["share"] == 1.0).all()


def test_arms_without_kl_or_gold_have_no_place() -> None:
    study = made_study({GOLD: np.zeros((3, 1))}, ["arm"])
    assert len(on_frontier(arm_points(study))) == 0


def test_the_frontier_is_said_with_how_sure_each_arm_is_of_its_place() -> None:
    table = on_frontier(arm_points(arms_at({"near": (1.0, 1.0), "far": (9.0, 3.0)}, noise=0.0)))
    assert frontier_sentence(table) == (
        "No other arm has more gold at less KL than: near (1.00 at 1.00 nats, in 100 % of resamples); "
        "far (3.00 at 9.00 nats, in 100 % of resamples)."
    )
