"""The benchmark of tracking trains the same run on both sides, one of them tracked."""

from pathlib import Path

from safetensors.torch import load_file

from tests.ablations.toy import toy
from tests.benchmarks.tracking_overhead import Cost, Pair, measure
from workbench.tracking.store import default_store

BLOCKS = 2


def test_both_sides_end_with_the_same_policy_and_one_of_them_in_mlflow(tmp_path: Path) -> None:
    pairs = measure(toy(arms={"vanilla": "vanilla"}), tmp_path, BLOCKS)
    assert len(pairs) == BLOCKS
    costs = [cost for pair in pairs for cost in (pair.tracked, pair.bare)]
    assert all(cost.cpu_seconds > 0 and cost.wall_seconds > 0 for cost in costs)
    assert all(0 < pair.tracked.uploader_seconds < pair.tracked.cpu_seconds for pair in pairs)
    assert all(pair.bare.uploader_seconds == 0 for pair in pairs)
    store = default_store(tmp_path)
    runs = store.runs(store.create_experiment("toy"), "attributes.status = 'FINISHED'")
    assert sorted(run.info.run_name for run in runs) == ["vanilla/s0", "vanilla/s1", "vanilla/s2"]
    for seed in range(BLOCKS + 1):
        [tracked] = tmp_path.glob(f"studies/toy/cells/*s{seed}/policy/model.safetensors")
        bare = load_file(tmp_path / "bare" / str(seed) / "policy" / "model.safetensors")
        assert all(bare[name].equal(weight) for name, weight in load_file(tracked).items())


def test_shares_are_of_the_bare_trial() -> None:
    pair = Pair(tracked=Cost(12.5, 6.0, 2.0), bare=Cost(10.0, 4.0, 0.0))
    assert pair.shares() == {"cpu_share": 0.25, "wall_share": 0.5, "uploader_share": 0.2}
