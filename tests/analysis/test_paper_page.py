"""docs/paper.md: a section a claim, and generated parts that say what was kept."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.claims import CLAIMS
from analysis.paper.keeping import refreshed
from analysis.paper.page import filled
from analysis.paper.results import KEPT, kept, save
from analysis.verdicts import Evidence, Part, decide
from tests.written import INTERVAL, NUMBER, is_interval, is_shown_as

PAGE = KEPT.parents[1] / "paper.md"
VALUES = np.array([1.0, 1.1, 0.9, 1.2, 0.8, 1.0, 1.05, 0.95, 1.0, 1.0])
ABOUT = {
    **{"runs": 50, "studies": ["figure_04", "figure_08"], "seeds": [7, 100, 101, 102]},
    **{"first": "2026-01-01 10:00 UTC", "last": "2026-01-01 11:00 UTC", "hours": 1.5},
    **{"hardware": ["a machine"], "code": ["0123456789"], "rules": "abcdef0", "rules_date": "before"},
    "commands": ["make paper", "workbench claims --home runs/paper --save docs/paper"],
    "figures": [
        {"name": "figure_04", "title": "Figure 4: made", "claims": ["C01", "C02"], "caption": "4 seeds."}
    ],
    "afterwards": {
        "C02": {
            "question": "Why?",
            "parts": [
                {"part": "lost", "unit": "gold", "effect": -2.0, "low": -2.5, "high": -1.5, "n": 10}
            ],
        }
    },
    "told": {
        "C03": [{"part": "runs, 04/a", "unit": "share", "effect": 0.5, "low": 0.2, "high": 0.8, "n": 10}]
    },
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Verdicts of three claims: shown, without seeds enough, without runs."""
    parts = (
        Part("gained", "gold", VALUES, 0.15, "above"),
        Part("kept", "σ", 0.001 * VALUES, 1, "within"),
    )
    found = [
        Evidence("C01", "4", "Made.", parts),
        Evidence("C02", "5", "Made, too.", (Part("gained", "gold", VALUES[:2], 0.0, "above"),)),
        Evidence("C03", "6", "Not run.", (), "study figure_06 is not there"),
    ]
    save(decide(found), ABOUT, tmp_path / "paper" / "verdicts.json")
    return tmp_path / "paper" / "verdicts.json"


def parts_of(names: list[str]) -> str:
    return "".join(f"{name}\n<!-- {name}: begin -->\nstale\n<!-- {name}: end -->\n" for name in names)


MADE = parts_of(["runs", "summary", "settings", "told", "C01", "C02", "C03"])


def test_every_claim_has_a_section_with_its_generated_part_and_a_paragraph() -> None:
    sections = re.split(r"^### (.*)$", PAGE.read_text(encoding="utf-8"), flags=re.M)
    assert sections[1::2] == [claim.id for claim in CLAIMS]
    for claim, section in zip(sections[1::2], sections[2::2], strict=True):
        before, _, rest = section.partition(f"<!-- {claim}: begin -->")
        after = rest.partition(f"<!-- {claim}: end -->")[2]
        assert "The paper: " in before and "Here: " in before
        assert after.strip(), "the honest paragraph is missing"


def test_the_page_says_what_was_kept() -> None:
    page = PAGE.read_text(encoding="utf-8")
    command = kept()["commands"][-1]
    assert page == refreshed(page, KEPT.parent), f"write it anew: {command}"
    for image in re.findall(r"\]\((paper/.*?\.png)\)", page):
        assert (PAGE.parent / image).is_file()


def test_a_claim_shows_figure_parts_and_verdict(file: Path) -> None:
    page = filled(MADE, kept(file), {})
    own = page.partition("<!-- C01: begin -->")[2].partition("<!-- C01: end -->")[0]
    assert "![Figure 4: made](paper/figure_04.png)" in own
    # ten values of mean 1, deviation √(0.105/9) = 0.108: ± 2.262 · 0.108/√10 = 0.077
    assert "| gained | > 0.15 | 1.00 gold | 0.923 to 1.08 | 10 | yes |" in own
    assert "| kept | within ± 1 | 0.00100 σ |" in own
    assert "**Reproduced**, p = 0.00098 after Holm's correction" in own


def test_a_figure_is_shown_once_and_a_claim_without_verdict_says_why(file: Path) -> None:
    page = filled(MADE, kept(file), {})
    assert page.count("figure_04.png") == 1
    assert "The figure is that of [C01](#c01)." in page
    assert "| gained | > 0 | 1.05 gold | – | 2 | no |" in page
    assert "**Not run**: 2 seeds are there and 6 are needed." in page
    assert "**Not run**: study figure_06 is not there." in page
    assert "Of 3 claims: 1 reproduced, 2 not run." in page


def test_what_was_looked_at_afterwards_follows_the_verdict_of_its_claim(file: Path) -> None:
    page = filled(MADE, kept(file), {})
    own = page.partition("<!-- C02: begin -->")[2].partition("<!-- C02: end -->")[0]
    verdict, _, look = own.partition("**Looked at afterwards**: Why?")
    assert "**Not run**" in verdict
    assert "| lost | −2.00 gold | −2.50 to −1.50 | 10 |" in look
    assert page.count("Looked at afterwards") == 1


def test_what_paragraphs_tell_is_a_table_by_claim_and_setting(file: Path) -> None:
    wide = kept(file) | {"told": {"wide": [{**ABOUT["told"]["C03"][0], "effect": 0.4}]}}
    page = filled(MADE, kept(file), {"wide": wide, "old": {**wide, "told": {}}})
    own = page.partition("<!-- told: begin -->")[2].partition("<!-- told: end -->")[0]
    assert "| C03 | runs, 04/a | 0.500 share | 0.200 to 0.800 | 10 |" in own
    assert "| wide | runs, 04/a | 0.400 share | 0.200 to 0.800 | 10 |" in own


def test_the_page_says_what_was_run_by_which_rules(file: Path) -> None:
    page = filled(MADE, kept(file), {})
    assert "| seeds | 7, 100 to 102 |" in page
    assert "| rules | `analysis/claims.py` as of commit abcdef0, before |" in page
    assert "`make paper`, then `workbench claims --home runs/paper --save docs/paper`" in page


def test_other_settings_are_columns_with_the_claims_that_were_decided_there(file: Path) -> None:
    wide = kept(file) | {"runs": 9, "seeds": [1, 2], "commands": ["python -m ablations.paper"]}
    page = filled(MADE, kept(file), {"wide": wide})
    [row] = re.findall(r"^\| \[C01\].*\| \*\*reproduced\*\*: gained.*$", page, flags=re.M)
    assert row.count("1.00 [0.923, 1.08] gold, n 10") == 2
    assert "wide: 9 runs, seeds 1 to 2, `python -m ablations.paper`." in page


def test_what_stands_outside_the_markers_stays_and_twice_is_as_once(file: Path) -> None:
    page = f"head\n{MADE}tail\n"
    once = filled(page, kept(file), {})
    assert once.startswith("head\nruns\n") and once.endswith("tail\n") and "stale" not in once
    assert filled(once, kept(file), {}) == once


@pytest.mark.parametrize(
    "names", [["runs"], ["runs", "summary", "settings", "told", "C01", "C02", "C03", "C04"]]
)
def test_parts_and_verdicts_have_to_be_the_same(file: Path, names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"differ in their parts: .*C0"):
        filled(parts_of(names), kept(file), {})


def test_what_is_kept_is_json_that_every_program_reads(file: Path) -> None:
    rows = json.loads(file.read_text(), parse_constant=lambda name: pytest.fail(name))["claims"]
    assert [row["p"] is None for row in rows] == [False, True, True]
    assert rows[1]["low"] is None


GENERATED = re.compile(r"<!-- (\w+): begin -->.*?<!-- \1: end -->", re.S)
Rows = list[dict[str, Any]]


def rows_of(file: Path) -> dict[str, Rows]:
    """Return every row of tables by claim, and what is told of a setting under its name."""
    verdicts = kept(file)
    found = {row["id"]: list(row["parts"]) for row in verdicts["claims"]}
    for name, look in verdicts["afterwards"].items():
        found[name] += look["parts"]
    for name, rows in verdicts.get("told", {}).items():
        found.setdefault(name, []).extend(rows)
    return found


def paragraphs() -> Iterator[tuple[str, str, Rows]]:
    """Yield what stands between generated parts, line by line, with its section and its rows."""
    own, every = rows_of(KEPT), [row for rows in rows_of(KEPT).values() for row in rows]
    section, rows = "", []
    for line in GENERATED.sub("", PAGE.read_text(encoding="utf-8")).splitlines():
        if line.startswith("#"):
            section = line.strip("# ")
            rows = own.get(section, [])
        elif bold := re.match(r"\*\*(\w+)\*\*: ", line):
            section = bold[1].lower()
            file = KEPT.with_name(f"verdicts.{section}.json")
            rows = [*every, *(row for found in rows_of(file).values() for row in found)]
        yield section, line, rows


def is_interval_of(row: dict[str, Any], interval: re.Match[str], before: str) -> bool:
    """Return whether an interval is that of a row, and one of the numbers before it its mean.

    Counts of runs, which are often words, need no such number.
    """
    for sign in (1, -1):
        low, high = sorted(sign * row[end] for end in ("low", "high"))
        if is_interval(low, high, interval):
            is_count = row["part"].startswith("runs that ")
            means = {sign * row["effect"], abs(row["effect"])}
            written = NUMBER.findall(before)
            return is_count or any(is_shown_as(mean, *one) for mean in means for one in written)
    return False


def told_intervals() -> Iterator[tuple[str, re.Match[str], str, list[dict[str, Any]]]]:
    """Yield every interval of a paragraph: its section, itself, what is before it, and its rows."""
    for section, line, rows in paragraphs():
        there = [row for row in rows if row["low"] is not None]
        for interval in INTERVAL.finditer(line):
            before = line[max(0, interval.start() - 80) : interval.start()]
            yield section, interval, before, [r for r in there if is_interval_of(r, interval, before)]


def test_every_interval_of_a_paragraph_is_that_of_a_row_of_its_tables() -> None:
    found = list(told_intervals())
    assert len(found) > 50
    lost = [(section, before + interval[0]) for section, interval, before, rows in found if not rows]
    assert not lost, "no row has these: correct them, or add them to analysis/paper/told.py"


def test_every_row_that_is_told_stands_in_a_paragraph() -> None:
    found = {(section, row["part"]) for section, _, _, rows in told_intervals() for row in rows}
    tables = [kept(file).get("told", {}) for file in (KEPT, *KEPT.parent.glob("verdicts.*.json"))]
    told = {(name, row["part"]) for table in tables for name, rows in table.items() for row in rows}
    assert not told - found, "no paragraph tells these: delete them from analysis/paper/told.py"
