"""What a study's design says of its arms: for the analysis, and for people."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ablations.designs.fractions import aliases
from ablations.designs.kinds import AnyDesign
from ablations.search.settings import Search
from ablations.study import Study
from workbench.recipe import Recipe
from workbench.tracking.store import EXPERIMENT_TAG_LIMIT

OTHER_FACTS = 1_500
"""Characters of the experiment's tag for all but the design, the arms, the seeds and the question."""
TWINS_SHOWN = 6
CLEAR = {
    3: "main effects are apart from each other, not from pairs of factors",
    4: "main effects are apart from each other and from pairs of factors, pairs not from each other",
    5: "main effects and pairs of factors are apart from each other",
}
"""What the resolution of a fractional factorial says."""


def design_facts(study: Study) -> dict[str, Any] | None:
    """Describe a study's design for the experiment's tag and the analysis.

    Levels are read off the recipes: 1 or 0 for a trick that is there or not, a field's value, or the
    trick of a group; None for a field whose trick is not there. What does not fit into MLflow's tag
    beside the arms is left out: first the levels, which the runs' parameters have too, then the aliases.

    Returns:
        kind, recipe, factors (names), levels (arm -> a level per factor), resolution (None unless a part
        of a factorial) and aliases; None for a study without a design.
    """
    if study.search:
        return {
            "kind": "search",
            "recipe": study.search.recipe,
            "objectives": study.search.objectives,
            "constraints": study.search.constraints,
        }
    design = study.design
    if design is None:
        return None
    facts: dict[str, Any] = {
        "kind": design.kind,
        "recipe": design.recipe,
        "factors": [factor.name for factor in design.varied],
        "levels": {arm: _levels(design, study.recipes[arm]) for arm in study.expansion.designed},
        "resolution": design.fraction.resolution if design.fraction else None,
        "aliases": _aliases(design, [factor.name for factor in design.varied]),
    }
    beside = len(json.dumps([study.question, list(study.arms), study.seeds])) + OTHER_FACTS
    for key, empty in (("levels", {}), ("aliases", [])):
        if beside + len(json.dumps(facts)) >= EXPERIMENT_TAG_LIMIT:
            facts[key] = empty
    return facts


def design_lines(study: Study) -> list[str]:
    """Explain a study's design: what is varied, in how many runs, and what cannot be told apart."""
    if study.search:
        return _search_lines(study.search, len(study.seeds))
    design = study.design
    if design is None:
        return []
    arms, seeds = study.arms, study.seeds
    return [
        f"design {design.kind} of {design.recipe}: {design.answers}",
        *(f"  {number:>2} {line}" for number, line in enumerate(_factor_lines(design), 1)),
        *_fraction_lines(design),
        *_twin_lines(study.expansion.twins),
        f"  {len(arms)} arms × {len(seeds)} seeds = {len(arms) * len(seeds)} runs;"
        f" compared with {study.baseline or next(iter(arms))}",
        "",
    ]


def _search_lines(search: Search, seeds: int) -> list[str]:
    goals = ", ".join(f"{way} {name}" for name, way in search.objectives.items())
    bounds = ", ".join(f"{name} at most {bound:g}" for name, bound in search.constraints.items())
    return [
        f"search around {search.recipe}: {goals}{f', with {bounds}' if bounds else ''}",
        f"  over {', '.join(search.tricks)}",
        f"  {search.trials} recipes × {seeds} seeds = {search.trials * seeds} runs at most;"
        f" hopeless recipes {'leave their other seeds out' if search.give_up else 'run all seeds'}",
        "",
    ]


def _levels(design: AnyDesign, recipe: Recipe) -> list[Any]:
    return [factor.read(recipe) for factor in design.varied]


def _aliases(design: AnyDesign, names: Sequence[str]) -> list[str]:
    """Write aliases in terms of present and absent, high and low, whatever the recipe's own level is."""
    if design.fraction is None:
        return []
    signs = [1 if factor.reference is factor.levels[1] else -1 for factor in design.varied]
    return aliases(design.fraction.columns * signs, names)


def _factor_lines(design: AnyDesign) -> Iterable[str]:
    width = max(len(factor.name) for factor in design.varied)
    for factor in design.varied:
        yield f"{factor.name:<{width}}  {' | '.join(level.shown for level in factor.levels)}"


def _fraction_lines(design: AnyDesign) -> list[str]:
    fraction = design.fraction
    if fraction is None:
        return []
    runs, factors = fraction.columns.shape
    if fraction.resolution is None:
        return [f"  all {runs} combinations: no fraction has this resolution with so few factors"]
    mixed = _aliases(design, [str(number) for number in range(1, factors + 1)])
    return [
        f"  {runs} of {2**factors:,} combinations, resolution {fraction.resolution}:"
        f" {CLEAR[min(fraction.resolution, 5)]}",
        *(["  these cannot be told apart (1:2 is what 1 and 2 do only together):"] if mixed else []),
        *(f"    {line}" for line in mixed),
    ]


def _twin_lines(twins: Sequence[tuple[str, str]]) -> list[str]:
    said = [name if name == kept else f"{name} (as {kept})" for name, kept in twins[:TWINS_SHOWN]]
    more = f" and {len(twins) - TWINS_SHOWN} more" if len(twins) > TWINS_SHOWN else ""
    return [f"  left out, as the recipe is there already: {', '.join(said)}{more}"] if said else []
