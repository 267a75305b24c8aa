"""The generated parts of docs/paper.md: what was run, the verdicts, and a table for each claim."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

Kept = Mapping[str, Any]
"""What `analysis.paper.results.kept` returns."""

SUMMARY_HEAD = (
    "| claim | figure | the paper says | the part that decides | effect, 95 % interval | n | verdict |",
    "|---|---|---|---|---|---|---|",
)
CLAIM_HEAD = (
    "| what had to be shown | bound | effect | 95 % interval | n | shown |",
    "|---|---|---|---|---|---|",
)
LOOK_HEAD = ("| what was looked at | effect | 95 % interval | n |", "|---|---|---|---|")
TOLD_HEAD = ("| of | what, study/arm | mean | 95 % interval | n |", "|---|---|---|---|---|")
_PART = re.compile(r"(<!-- (\w+): begin -->\n).*?(<!-- \2: end -->)", re.S)


def filled(page: str, kept: Kept, carried: Mapping[str, Kept]) -> str:
    """Return the page with every part between markers written anew, and all else as it was.

    A part stands between `<!-- C04: begin -->` and `<!-- C04: end -->`; besides the claims there are
    `runs`, `summary`, `settings` and `told`.

    Args:
        page: in Markdown.
        kept: verdicts and what is known of their runs.
        carried: the same of each other setting, by its name.
    Raises:
        ValueError: if the page lacks the part of a claim, or has one that is unknown.
    """
    parts = {"runs": _runs(kept), "summary": _summary(kept["claims"])}
    parts["settings"] = _settings(kept, carried)
    parts["told"] = _told(kept, carried)
    parts |= {row["id"]: _claim(row, kept["figures"]) for row in kept["claims"]}
    parts |= {name: f"{parts[name]}\n\n{_look(look)}" for name, look in kept["afterwards"].items()}
    asked = [name for _, name, _ in _PART.findall(page)]
    if sorted(asked) != sorted(parts):
        wrong = ", ".join(sorted(set(asked) ^ set(parts))) or "one that is there twice"
        raise ValueError(f"the page and the verdicts differ in their parts: {wrong}")
    return _PART.sub(lambda part: f"{part[1]}\n{parts[part[2]]}\n\n{part[3]}", page)


def _runs(kept: Kept) -> str:
    """Say what was run, when, on what, by which code, and when its rules were written down."""
    told = {
        "runs": f"{kept['runs']}, in {len(kept['studies'])} studies",
        "seeds": _ranges(kept["seeds"]),
        "time": f"{kept['first']} to {kept['last']}; {kept['hours']:.1f} hours of runs, added up",
        "hardware": ", ".join(kept["hardware"]),
        "code": ", ".join(kept["code"]),
        "rules": f"`analysis/claims.py` as of commit {kept['rules']}, {kept['rules_date']}",
        "commands": ", then ".join(f"`{command}`" for command in kept["commands"]),
    }
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in told.items())


def _ranges(seeds: Sequence[int]) -> str:
    """Write seeds as ranges: 100 to 109."""
    is_start = [seed - 1 not in seeds for seed in seeds]
    starts = [seed for seed, starts in zip(seeds, is_start, strict=True) if starts]
    ends = [seed for seed in seeds if seed + 1 not in seeds]
    pairs = zip(starts, ends, strict=True)
    return ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in pairs)


def _summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write one line a claim, and how many came out which way."""
    answers = [row["verdict"] for row in rows]
    order = ("reproduced", "not reproduced", "contradicted", "not run")
    count = ", ".join(f"{answers.count(one)} {one}" for one in order if one in answers)
    lines = [*SUMMARY_HEAD]
    for row in rows:
        found = [row["note"], "–", "–"]
        if row["effect"] is not None:
            found = [row["part"], f"{_effect(row)} {row['unit']}", str(row["n"])]
        link = f"[{row['id']}](#{row['id'].lower()})"
        cells = [link, row["figure"], row["says"], *found, f"**{row['verdict']}**"]
        lines.append(f"| {' | '.join(cells)} |")
    return f"Of {len(rows)} claims: {count}.\n\n" + "\n".join(lines)


def _settings(kept: Kept, carried: Mapping[str, Kept]) -> str:
    """Write a table, claims by settings, of the claims that were decided under another setting."""
    if not carried:
        return "Not run yet."
    verdicts = [{row["id"]: row for row in one["claims"]} for one in (kept, *carried.values())]
    rows = [
        [f"[{claim}](#{claim.lower()})", *(_cell(one[claim]) for one in verdicts)]
        for claim in verdicts[0]
        if any(one[claim]["verdict"] != "not run" for one in verdicts[1:])
    ]
    head = ["claim", "as calibrated", *carried]
    lines = [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]
    told = [
        f"{name}: {one['runs']} runs, seeds {_ranges(one['seeds'])}, `{one['commands'][0]}`."
        for name, one in carried.items()
    ]
    return "\n".join([*lines, "", *told])


def _cell(row: Mapping[str, Any]) -> str:
    if row["effect"] is None:
        return f"**{row['verdict']}**"
    return f"**{row['verdict']}**: {row['part']} {_effect(row)} {row['unit']}, n {row['n']}"


def _claim(row: Mapping[str, Any], figures: Sequence[Mapping[str, Any]]) -> str:
    """Write the figure of a claim, its parts and its verdict."""
    told = [_figure(figure, row["id"]) for figure in figures if row["id"] in figure["claims"]]
    if row["parts"]:
        told.append("\n".join([*CLAIM_HEAD, *(_part(part) for part in row["parts"])]))
    p = "" if row["p"] is None else f", p = {row['p']:.2g} after Holm's correction over the claims"
    note = f": {row['note']}" if row["note"] else ""
    told.append(f"**{row['verdict'].capitalize()}**{p}{note}.")
    return "\n\n".join(told)


def _figure(figure: Mapping[str, Any], claim: str) -> str:
    """Show a figure under the first of its claims, and point to it from the others."""
    first = figure["claims"][0]
    if claim != first:
        return f"The figure is that of [{first}](#{first.lower()})."
    image = f"![{figure['title']}](paper/{figure['name']}.png)"
    return f"{image}\n\n*{figure['title']}. {figure['caption']}*"


def _look(look: Mapping[str, Any]) -> str:
    """Write what was looked at when the verdict was known."""
    lines = [f"| {' | '.join([part['part'], *_found(part)])} |" for part in look["parts"]]
    return f"**Looked at afterwards**: {look['question']}\n\n" + "\n".join([*LOOK_HEAD, *lines])


def _told(kept: Kept, carried: Mapping[str, Kept]) -> str:
    """Write the numbers that stand in paragraphs alone, by claim and by setting."""
    lines = [
        f"| {' | '.join([section, row['part'], *_found(row)])} |"
        for one in (kept, *carried.values())
        for section, rows in one.get("told", {}).items()
        for row in rows
    ]
    return "\n".join([*TOLD_HEAD, *lines])


def _part(part: Mapping[str, Any]) -> str:
    bound = f"> {part['bound']:.3g}" if part["kind"] == "above" else f"within ± {part['bound']:.3g}"
    shown = "yes" if part["is_shown"] else "no"
    return f"| {' | '.join([part['part'], bound, *_found(part), shown])} |"


def _found(part: Mapping[str, Any]) -> list[str]:
    """Write effect, interval and n, a cell each."""
    ends = "–" if part["low"] is None else f"{_number(part['low'])} to {_number(part['high'])}"
    return [f"{_number(part['effect'])} {part['unit']}", ends, str(part["n"])]


def _effect(part: Mapping[str, Any]) -> str:
    if part["low"] is None:
        return _number(part["effect"])
    return f"{_number(part['effect'])} [{_number(part['low'])}, {_number(part['high'])}]"


def _number(value: float | None) -> str:
    """Write a number with three significant digits, from 100 on without decimals; – for none."""
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}".replace("-", "−")
