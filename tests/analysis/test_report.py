from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis.report
from analysis import effects, plots
from analysis.designs import factorial, shapley
from analysis.loading import load
from analysis.page.findings import findings
from analysis.page.limits import limits
from analysis.page.provenance import samples
from analysis.page.stability_findings import collapse_findings, warning_findings
from analysis.report import write_report
from analysis.runs import Study
from analysis.tables import tables_of
from analysis.wording import p_note
from tests.analysis.synthetic_store import QUICKSTART, Arm, Plan

SMALL = replace(QUICKSTART, iterations=40)


class Page(HTMLParser):
    """Collects text, addresses of resources, those of links, and the names of elements."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.text, self.resources, self.links, self.elements = "", [], [], []  # type: ignore[var-annotated]
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        found = [v for k, v in attrs if k in ("src", "srcset", "href", "action", "data")]
        (self.links if tag == "a" else self.resources).extend(found)

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\u00a0", " ")


@pytest.fixture(scope="session")
def page(report: Path) -> Page:
    return Page(report / "report.html")


def test_a_report_is_written_where_torch_cannot_be_imported(report: Path) -> None:
    assert (report / "report.html").stat().st_size > 100_000


def test_the_page_asks_for_nothing_outside_itself(page: Page) -> None:
    assert page.resources
    assert all(address.startswith("data:image/svg+xml,") for address in page.resources)
    assert not {"script", "link", "iframe", "object"} & set(page.elements)
    assert "@import" not in page.text and "url(" not in page.text


def test_links_lead_into_the_page_to_files_beside_it_and_to_mlflow(
    page: Page, report: Path, study: Study
) -> None:
    inside = {link for link in page.links if link.startswith("#")}
    beside = {link for link in page.links if link.endswith(".csv")}
    assert {f"#{name}" for name in ("found", "figures", "arms", "runs", "limits")} <= inside
    assert beside == {file.name for file in report.glob("*.csv")}
    assert {file.stem for file in report.glob("latex/*.tex")} < {Path(one).stem for one in beside}
    pages = f"http://127.0.0.1:5000/#/experiments/{study.experiment_id}/runs"
    training = "workflowType=machine_learning"
    runs = {f"{pages}/{run_id}?{training}" for run_id in study.runs["run_id"]}
    curves = f"{pages}?compareRunsMode=CHART&viewStateShareKey=workbench-arms&{training}"
    assert set(page.links) - inside - beside == runs | {curves}


def test_every_figure_is_inline_twice_and_lies_beside_the_page(page: Page, report: Path) -> None:
    inline = [one for one in page.resources if one.startswith("data:")]
    absent = {*plots.TABLE_OF, "all_arms"} - {"wins"}  # of no design, and of few arms
    drawn = [name for name in plots.FIGURES if name not in absent]
    assert len(inline) == 2 * len(drawn)
    for name in drawn:
        assert (report / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (report / "figures" / f"{name}.svg").read_bytes()


def test_the_page_says_which_settings_are_not_the_defaults(page: Page) -> None:
    assert f"task.seed = 3, ppo.iterations = {QUICKSTART.iterations}" in page.text


def test_every_finding_stands_on_the_page(page: Page, report: Path) -> None:
    found = pd.read_csv(report / "findings.csv")
    assert len(found) > 10
    for text in found["finding"]:
        assert text in page.text
    for source in set(found["source"]):
        assert (report / source).is_file()


def test_sentences_on_effects_can_be_written_again_from_the_csv(report: Path) -> None:
    table = pd.read_csv(report / "effects.csv")
    again = {effects.effect_sentence(row) for _, row in table.iterrows()}
    found = pd.read_csv(report / "findings.csv")
    said = found.loc[found["source"] == "effects.csv", "finding"]
    notes = {p_note(table[table["n"] == 5])}
    assert set(said) - notes <= again
    assert len(set(said) - notes) == 11


def test_effects_in_the_csv_equal_the_differences_of_its_runs(report: Path) -> None:
    runs = pd.read_csv(report / "runs.csv").pivot(index="seed", columns="arm", values="final_gold")
    table = pd.read_csv(report / "effects.csv")
    row = table[(table["against"] == "vanilla") & (table["metric"] == "final/gold")].iloc[0]
    assert row["difference"] == pytest.approx((runs["ppo_max"] - runs["vanilla"]).mean(), rel=1e-12)


def test_sentences_on_collapse_can_be_written_again_from_the_csv(report: Path, study: Study) -> None:
    found = pd.read_csv(report / "findings.csv")
    said = found.loc[found["source"] == "runs.csv", "finding"].tolist()
    again = collapse_findings(study, pd.read_csv(report / "runs.csv"))
    assert said == [one.text for one in again]
    # five of five collapsed at 30, 34, 38, 32, 36; exact interval of 5/5: low = 0.025^(1/5) = 48 %
    assert said[0] == (
        "vanilla collapsed in 5 of 5 runs, at iterations 30 to 38, median 34 "
        "(95 % interval of the rate 48 % to 100 %, n = 5)."
    )
    assert said[1].startswith("ppo_max held: none of 5 runs collapsed")


def test_a_collapse_that_was_got_over_is_said(report: Path, study: Study) -> None:
    runs = pd.read_csv(report / "runs.csv")
    runs.loc[(runs["arm"] == "vanilla") & (runs["seed"] < 2), "final_gold"] = 9.0
    [vanilla, held] = [one.text for one in collapse_findings(study, runs)]
    assert vanilla.endswith("n = 5); gold ended above its start again in 2 of them.")
    assert "again" not in held


def test_sentences_on_warnings_can_be_written_again_from_the_csv(report: Path, study: Study) -> None:
    found = pd.read_csv(report / "findings.csv")
    said = found.loc[found["source"] == "warning_ranking.csv", "finding"].tolist()
    again = warning_findings(study, pd.read_csv(report / "warning_ranking.csv"))
    assert said == [one.text for one in again]


def test_the_first_monitor_is_named_with_its_lead(study: Study) -> None:
    said = [one for one in warning_findings(study, tables_of(study).warning_ranking) if not one.is_minor]
    # planted: KL leaves its range 15 iterations before the fall, length 10; of these an alarm takes two
    kl = next(one.text for one in said if one.text.startswith("KL to the SFT policy, "))
    assert "alarm 13 iterations ahead" in kl and "of 5 of 5 collapses" in kl
    length = next(one.text for one in said if one.text.startswith("response length, "))
    assert "alarm 8 iterations ahead" in length
    loss = next(one.text for one in said if one.text.startswith("policy loss, "))
    assert "no alarm before any of 5 collapses" in loss
    assert said[0].text.split(":")[0].endswith("monitors")
    assert said[-1].text.startswith("The iteration alone, which a monitor has to beat: AUROC")


def test_without_a_judge_a_monitor_that_moves_first_is_not_called_evidence(
    make_study: Callable[[Plan], Study],
) -> None:
    study = make_study(replace(QUICKSTART, gold=False))
    said = [one.text for one in warning_findings(study, tables_of(study).warning_ranking)]
    assert not said or any("no evidence that it warns" in text for text in said)


def test_curves_in_the_csv_are_interquartile_means_of_the_runs(report: Path, study: Study) -> None:
    curves = pd.read_csv(report / "curves.csv").set_index(["arm", "metric", "step"])
    row = curves.loc[("vanilla", "policy/kl_to_sft", 40)]
    _, values = study.curves("policy/kl_to_sft", "vanilla")
    # five seeds: the least and the greatest are cut
    assert row["iqm"] == pytest.approx(np.sort(values[:, 40])[1:4].mean(), rel=1e-12)
    assert row["low"] <= row["iqm"] <= row["high"] and row["n"] == 5


def test_the_page_tells_how_it_was_run(page: Page) -> None:
    for text in ("workbench ablate demo.yaml", "torch 2.13.0", "abc1234", "2 cores", "kl_penalty"):
        assert text in page.text


def test_sample_responses_are_of_the_last_iteration_and_escaped(page: Page, study: Study) -> None:
    found = samples(study)
    assert [one["arm"] for one in found] == ["vanilla", "ppo_max"]
    assert {row["iteration"] for one in found for row in one["rows"]} == {60}
    assert "how do i start bread <0> ?" in page.text
    assert "knead at 60 & rest ." in page.text


@pytest.fixture
def write(
    make_store: Callable[[Plan], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Plan], str]:
    """Write a report with one figure (test_plots draws all), and return its text."""
    monkeypatch.setattr(analysis.report, "FIGURES", {"differences": plots.differences})

    def text_of(plan: Plan) -> str:
        return Page(write_report(plan.name, make_store(plan), tmp_path / "out")).text

    return text_of


EVERY_CELL = [f"{arm}/s{seed}" for arm in SMALL.arms for seed in SMALL.seeds]
LIMITS = {
    "one seed": (replace(SMALL, seeds=(0,)), "has 1 finished seed; fewer than 3 give no interval"),
    "one arm": (Plan({"a": Arm()}), "The study has one arm"),
    "no gold judge": (replace(SMALL, gold=False), "No gold score was recorded"),
    "a monitor missing": (
        replace(SMALL, drop=("policy/perplexity",)),
        "Not recorded: perplexity of responses.",
    ),
    "unfinished": (replace(SMALL, stop={"vanilla/s0": 5}), "1 of 10 runs has not finished (vanilla/s0)"),
    "failed": (
        replace(SMALL, failed={"vanilla/s0": "out of memory"}),
        "vanilla/s0 failed: out of memory. Comparisons leave it out.",
    ),
    "nothing finished": (
        replace(SMALL, stop=dict.fromkeys(EVERY_CELL, 5)),
        "vanilla: no run has finished yet.",
    ),
    "runs of NaN": (replace(SMALL, broken=("vanilla/s0",)), "Values that were not finite are left out"),
    "nothing recorded": (replace(SMALL, failed=dict.fromkeys(EVERY_CELL, "no")), "failed: no"),
    "few seeds": (SMALL, "5 paired seeds cannot give a two-sided sign-flip p below 0.0625"),
    "none held": (
        replace(SMALL, arms={"vanilla": QUICKSTART.arms["vanilla"]}),
        "No monitor could be judged as a warning: ",
    ),
}


@pytest.mark.parametrize("case", LIMITS)
def test_what_could_not_be_done_is_said(case: str, make_study: Callable[[Plan], Study]) -> None:
    plan, expected = LIMITS[case]
    study = make_study(plan)
    tables = tables_of(study)
    answers = [one.text for group in findings(study, tables).values() for one in group]
    assert expected in " ".join([*answers, *limits(study, tables)])


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (replace(SMALL, seeds=()), "No run has started."),
        (LIMITS["nothing recorded"][0], "No two finished runs share a seed"),
        (LIMITS["unfinished"][0], "1 of 10 runs has not finished (vanilla/s0)"),
        (Plan({"a": Arm(), "b": Arm()}), "Final gold score: no difference found between b and a"),
        (LIMITS["one seed"][0], "too few seeds for an interval; this may be chance"),
        (LIMITS["one arm"][0], "The study has one arm"),
        (LIMITS["runs of NaN"][0], "Values that were not finite are left out of curves and means"),
        (LIMITS["none held"][0], "No monitor could be judged as a warning"),
    ],
)
def test_a_page_is_written_of_any_study(plan: Plan, expected: str, write: Callable[[Plan], str]) -> None:
    assert expected in write(plan)


FACTORIAL = replace(
    SMALL,
    arms={"neither": Arm(0.2), "kl": Arm(0.4), "clip": Arm(0.6), "both": Arm(1.6)},
    design={
        "kind": "factorial",
        "recipe": "both",
        "factors": ["token_kl_penalty", "value_clip"],
        "levels": {"neither": [False, False], "kl": [True, False], "clip": [False, True]}
        | {"both": [True, True]},
    },
)


def test_a_report_of_a_design_says_its_effects_and_where_they_stand(
    write: Callable[[Plan], str], tmp_path: Path
) -> None:
    text = write(FACTORIAL)
    for question in ("What each factor does on average", "Which tricks act on each other"):
        assert question in text
    found = pd.read_csv(tmp_path / "out" / "findings.csv")
    for name, sentence in (
        ("main_effects", factorial.main_sentence),
        ("interactions", factorial.interaction_sentence),
        ("shapley_values", shapley.shapley_sentence),
    ):
        table = pd.read_csv(tmp_path / "out" / f"{name}.csv", keep_default_na=True)
        gold = table[table["metric"] == "final/gold"].fillna({"aliases": ""})
        said = set(found.loc[found["source"] == f"{name}.csv", "finding"])
        assert said == {sentence(row, "final/gold") for _, row in gold.iterrows()}
    assert not (tmp_path / "out" / "forest.csv").exists()


def test_what_an_earlier_report_left_of_tables_without_rows_is_taken_away(
    write: Callable[[Plan], str], tmp_path: Path
) -> None:
    for name in ("forest.csv", "latex/forest.tex"):
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text("old")
    write(SMALL)
    assert not (tmp_path / "out" / "forest.csv").exists()
    assert not (tmp_path / "out" / "latex" / "forest.tex").exists()
    assert (tmp_path / "out" / "latex" / "effects.tex").read_text().startswith("\\begin{tabular}")


def test_values_that_are_not_finite_are_counted(study: Study) -> None:
    values = study.metrics["value"].to_numpy().copy()
    places = np.flatnonzero(study.metrics["metric"] == "policy/entropy")[:2]
    values[places] = np.nan, np.inf
    broken = replace(study, metrics=study.metrics.assign(value=values))
    said = limits(broken, tables_of(broken))
    assert said[-1].endswith("left out of curves and means: policy/entropy (2).")


def test_runs_that_have_not_started_are_listed(study: Study) -> None:
    asked = replace(study, spec=study.spec | {"seeds": [0, 1, 2, 3, 4, 5]})
    said = limits(asked, tables_of(asked))
    assert "2 of 12 runs have not started: ppo_max/s5, vanilla/s5." in said


def test_arms_whose_policies_stood_still_are_named(study: Study) -> None:
    of_arm = study.metrics["run_id"].isin(study.runs_of("ppo_max")["run_id"])
    still = of_arm & (study.metrics["metric"] == "policy/kl_to_sft")
    rounding = study.metrics["value"].mask(still, -1e-6)
    held = replace(study, metrics=study.metrics.assign(value=rounding))
    said = "ppo_max hardly moved its policy: KL to SFT stayed below 0.0001 nats."
    assert said in limits(held, tables_of(held))
    assert not any("hardly moved" in one for one in limits(study, tables_of(study)))
    unknown = replace(study, metrics=study.metrics.assign(value=study.metrics["value"].mask(still)))
    assert not any("hardly moved" in one for one in limits(unknown, tables_of(unknown)))


def test_runs_that_were_pruned_are_named_with_their_stop(study: Study) -> None:
    stops: list[str | None] = [None] * len(study.runs)
    stops[0] = "41"
    name = f"{study.runs['arm'][0]}/s{study.runs['seed'][0]}"
    pruned = replace(study, runs=study.runs.assign(stopped_at=stops))
    [said] = [one for one in limits(pruned, tables_of(pruned)) if "early" in one]
    assert said.startswith(f"1 run that had collapsed was ended early ({name} after 41 iterations): ")
    assert not any("ended early" in one for one in limits(study, tables_of(study)))


def test_samples_that_are_no_table_are_left_out(make_store: Callable[[Plan], str]) -> None:
    uri = make_store(SMALL)
    for file in Path(uri.removeprefix("sqlite:///")).parent.rglob("samples.json"):
        file.write_text("{}")
    assert samples(load("demo", uri)) == []
