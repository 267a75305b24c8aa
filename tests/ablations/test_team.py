"""A study whose trials are trained by two processes each: the curves of one process, for real."""

from pathlib import Path

import pytest

from ablations.launchers.local import Local
from ablations.runner import Options, ablate
from tests.ablations.toy import points, run_names, toy
from workbench import plugins

TOGETHER = Options(workers=1, command="", device="cpu", threads=1, launcher=Local("cpu", processes=2))


def test_two_processes_together_train_the_curves_of_one(prepared: Path, undisturbed: Path) -> None:
    statuses = ablate(toy(seeds=1), prepared, TOGETHER)
    assert all(status.state in ("ok", "collapsed") for status in statuses)
    assert run_names(prepared) == ["ppo_max/s0", "vanilla/s0"]
    alone = {point[:3]: point[3] for point in points(undisturbed) if point[0].endswith("s0")}
    together = {point[:3]: point[3] for point in points(prepared)}
    assert together.keys() == alone.keys()
    assert together == pytest.approx(alone, rel=1e-5, abs=1e-6)


BREAKS = """
from torch import Tensor

from workbench.trick import AdvantageTransform


class Breaks(AdvantageTransform):
    \"\"\"Break.\"\"\"

    def __call__(self, advantage: Tensor, mask: Tensor) -> Tensor:
        raise ValueError("it breaks on every process")
"""


def test_a_run_that_fails_on_both_is_recorded_once_and_the_others_go_on(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "_files", {})  # other tests shall not see the plugin
    plugin = tmp_path / "breaks.py"
    plugin.write_text(BREAKS)
    arms = {"broken": {"recipe": "vanilla", "with": {"breaks": True}}, "vanilla": "vanilla"}
    statuses = ablate(toy(seeds=1, arms=arms, plugins=[str(plugin)]), prepared, TOGETHER)
    found = {status.cell.arm: (status.state, status.error) for status in statuses}
    assert found["broken"] == ("failed", "it breaks on every process")
    assert found["vanilla"][0] in ("ok", "collapsed")
    assert run_names(prepared) == ["broken/s0", "vanilla/s0"]
