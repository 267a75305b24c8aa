"""The pages docs/tricks.md and docs/recipes.md, written from the tricks and recipes of this package."""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence

from workbench.catalogue.describe import plain, trick_facts, trick_source
from workbench.catalogue.omissions import LEFT_OUT, SETTINGS, Omission
from workbench.catalogue.synonyms import SYNONYMS
from workbench.recipe import Recipe
from workbench.recipes import recipes
from workbench.trick import NEEDS, SLOTS, Trick, Value
from workbench.tricks import TEXTBOOK, built_in

WHEN = {
    "initialise": "once, before training",
    "optimisation": "once per run for the optimiser, and once per rollout before its first step",
    "sampling": "once per iteration, before responses are sampled",
    "logits": "for every token that is drawn",
    "reward_function": "once per rollout, before running statistics move",
    "score": "once per rollout",
    "value": "once per rollout and in every optimiser step",
    "reward": "once per rollout",
    "advantage_estimator": "once per rollout",
    "rollout_advantage": "once per rollout",
    "selection": "once per rollout",
    "advantage": "in every optimiser step",
    "ratio": "in every optimiser step",
    "policy_loss": "in every optimiser step",
    "policy_weight": "in every optimiser step",
    "value_target": "in every optimiser step",
    "value_loss": "in every optimiser step",
    "value_weight": "in every optimiser step",
    "aggregation": "in every optimiser step, for the policy's loss and for the critic's",
    "regulariser": "in every optimiser step",
    "stopping": "in every optimiser step, before it is taken",
    "gradient": "in every optimiser step, after the gradients",
    "schedule": "once per iteration",
    "weight_sync": "once per iteration, after its last optimiser step",
}
"""When the PPO update calls each slot."""

BASELINE = "ppo_max"
"""The recipe with which docs/recipes.md compares the others."""


def tricks_page() -> str:
    """Write docs/tricks.md; plugins have no place on it."""
    kinds = built_in()
    used = {slot: [kind for kind in kinds.values() if kind.slot == slot] for slot in SLOTS}
    users = _users(kinds)
    return _page(
        "# Tricks",
        "Written by `workbench tricks --markdown` from the docstrings of `workbench/tricks/` and from"
        f" the recipes: {len(kinds)} tricks in {len(SLOTS)} slots.",
        "π is the policy that is being updated, π_old the one that sampled the responses, π_ref the"
        " reference, which is the SFT policy unless a trick moves it; s_t is the prompt with the"
        " response's first t tokens, y_t the next one, r the score of a response, r_t the reward of"
        " a token, V_t the critic's value. A rollout is one buffer of responses, of which an iteration"
        " has one unless a trick splits it. *Neutral* is the setting at which a trick drops"
        " out: a loss is the unclipped surrogate or the plain squared error then, an estimator the"
        " Monte Carlo return less the value, anything else leaves its input alone. *Search* is the"
        " range in which a search looks, on a logarithmic scale where it says log.",
        "## Index",
        _table(("trick", "slot", "what it does"), [_index_row(kinds[name]) for name in sorted(kinds)]),
        "Under other names: "
        + "; ".join(f"`{other}` is {_link(ours)}" for other, ours in sorted(SYNONYMS.items()))
        + ".",
        "## Slots",
        "In the order in which the PPO update calls them:",
        "\n".join(
            f"{number}. [{slot}](#slot-{slot}), {WHEN[slot]}: "
            + (", ".join(_link(kind.name) for kind in used[slot]) or "none yet")
            for number, slot in enumerate(SLOTS, 1)
        ),
        *(part for slot in SLOTS for part in _slot(slot, used[slot], users)),
        "## What is not here, and why",
        "Details of published systems that are no tricks of this workbench.",
        _omissions("reason", LEFT_OUT),
        "### Settings rather than tricks",
        "These are the same for every arm of a study, so that arms differ in their tricks alone.",
        _omissions("where it is set", SETTINGS),
    )


def recipes_page() -> str:
    """Write docs/recipes.md: every recipe with its sources, and how it differs from PPO-max."""
    every = list(recipes().values())
    return _page(
        "# Recipes",
        "Written by `workbench recipes --markdown` from `workbench/recipes/`. A recipe holds the tricks"
        " of a published system or paper; *textbook* marks the choices that an empty recipe makes."
        " [tricks.md](tricks.md) explains the tricks.",
        _table(
            ("recipe", "hash", "what it is"),
            [(f"[{r.name}](#{r.name})", f"`{r.fingerprint()}`", _text(r.about)) for r in every],
        ),
        *(part for recipe in every for part in _recipe(recipe)),
        f"## Differences to {BASELINE}",
        f"Every trick that some recipe lacks or sets otherwise than {BASELINE}: `=` where it is the"
        " same, empty where the recipe lacks the trick.",
        _matrix(every),
    )


def _slot(slot: str, kinds: Sequence[type[Trick]], users: Mapping[str, Sequence[str]]) -> list[str]:
    base = SLOTS[slot]
    meaning, _, more = inspect.cleandoc(base.__doc__ or "").removeprefix("Slot: ").partition("\n\n")
    call = base.__call__
    arguments = ", ".join(list(inspect.signature(call).parameters)[1:])
    does = " ".join(inspect.cleandoc(call.__doc__ or "").split())
    return [
        f"## Slot {slot}",
        _text(f"{meaning[0].upper()}{meaning[1:]} {more}"),
        f"Called {WHEN[slot]}, as `trick({arguments})`: {_text(does[0].lower() + does[1:])}",
        *(part for kind in kinds for part in _trick(kind, users)),
    ]


def _trick(kind: type[Trick], users: Mapping[str, Sequence[str]]) -> list[str]:
    facts = trick_facts(kind)
    rivals, before = ([n for n in facts[key] if n in built_in()] for key in ("instead_of", "after"))
    relations = {
        "Also called": ", ".join(f"`{name}`" for name in facts["also_called"]),
        "Textbook": "an empty recipe has it" if facts["textbook"] else "",
        "Neutral": _neutral(kind),
        "Instead of": ", ".join(map(_link, rivals)),
        "After": ", ".join(map(_link, before)),
        "Only with": ", ".join([*map(_link, kind.requires), *["a critic"] * kind.requires_critic]),
        "Not with": ", ".join(map(_link, kind.excludes)),
        "Has to match": ", ".join(
            f"`{own}` with {' or '.join(f'`{other}`' for other in others)}"
            for own, others in kind.matches.items()
        ),
        "Needs": _text("; ".join(NEEDS[need] for need in sorted(kind.needs))),
        "Mixes responses": "its result for one depends on the others" if kind.batch_statistic else "",
        "In recipes": "; ".join(users.get(kind.name, ())),
    }
    equation = f"```text\n{facts['equation']}\n```" if facts["equation"] else ""
    parts = [
        f"### {kind.name}",
        _text(facts["summary"]),
        equation,
        f"**Variant:** {_text(facts['variant'])}" if facts["variant"] else "",
        f"**Source:** {_text(facts['source'])}" if facts["source"] else "",
        _hypers(facts["hyper_parameters"]),
        "\n".join(f"- {key}: {value}" for key, value in relations.items() if value),
    ]
    file = f"../workbench/tricks/{kind.slot}/{kind.name}.py"
    return [part for part in parts if part] + [f"[{kind.name}.py]({file})"]


def _hypers(hypers: Sequence[Mapping[str, object]]) -> str:
    rows = []
    for hyper in hypers:
        search = " … ".join(map(plain, hyper["search"] or ()))  # type: ignore[call-overload]
        log = ", log" if search and hyper["log"] else ""
        name, default = f"`{hyper['name']}`", f"`{plain(hyper['default'])}`"
        rows.append((name, default, f"`{hyper['domain']}`", search + log or "not searched"))
    return _table(("hyper-parameter", "default", "domain", "search"), rows) if rows else ""


def _neutral(kind: type[Trick]) -> str:
    if kind.neutral is None:
        return ""
    return ", ".join(f"`{key} = {plain(value)}`" for key, value in kind.neutral.items()) or "as it is"


def _users(kinds: Mapping[str, type[Trick]]) -> dict[str, list[str]]:
    """Say for each trick which recipes have it, with which values; recipes that agree stand together."""
    by_values: dict[str, dict[str, list[str]]] = {name: {} for name in kinds}
    for recipe in recipes().values():
        for trick in recipe.tricks:
            link = f"[{recipe.name}](recipes.md#{recipe.name})"
            by_values[trick.name].setdefault(_values(trick.hypers()), []).append(link)
    return {
        name: [", ".join(links) + (f" with {v}" if v else "") for v, links in groups.items()]
        for name, groups in by_values.items()
    }


def _recipe(recipe: Recipe) -> list[str]:
    rows = [
        (t.slot, f"[{t.name}](tricks.md#{t.name})", _values(t.hypers()), _text(trick_source(recipe, t)))
        for t in recipe.tricks
    ]
    return [
        f"## {recipe.name}",
        _text(recipe.about),
        _table(("slot", "trick", "values", "source"), rows),
    ]


def _matrix(every: Sequence[Recipe]) -> str:
    baseline = recipes()[BASELINE]
    others = [recipe for recipe in every if recipe is not baseline]
    rows = []
    for name in built_in():
        mine, *theirs = (_cell(recipe, name) for recipe in (baseline, *others))
        if any(cell != mine for cell in theirs):
            cells = ["=" if mine and cell == mine else cell for cell in theirs]
            rows.append((f"[{name}](tricks.md#{name})", mine, *cells))
    return _table(("trick", BASELINE, *(recipe.name for recipe in others)), rows)


def _cell(recipe: Recipe, name: str) -> str:
    """Return a trick's values in a recipe; "" where the recipe lacks it."""
    for trick in recipe.tricks:
        if trick.name == name:
            return _values(trick.hypers()).replace("`", "") or "yes"
    return ""


def _values(hypers: Mapping[str, Value]) -> str:
    return ", ".join(f"`{key}={plain(value)}`" for key, value in hypers.items())


def _omissions(reason: str, rows: Iterable[Omission]) -> str:
    return _table(("detail", reason), [(_text(row.what), _text(row.why)) for row in rows])


def _index_row(kind: type[Trick]) -> tuple[str, str, str]:
    mark = " (textbook)" if kind.name in TEXTBOOK else ""
    summary = _text(str(trick_facts(kind)["summary"])) + mark
    return _link(kind.name), f"[{kind.slot}](#slot-{kind.slot})", summary


def _link(name: str) -> str:
    return f"[{name}](#{name})"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _text(words: str) -> str:
    """Write prose as Markdown: what is not in backticks loses its special meaning, arXiv gets links."""
    parts = re.split(r"(`[^`]*`)", " ".join(words.split()))
    return "".join(part if part.startswith("`") else _prose(part) for part in parts)


def _prose(words: str) -> str:
    escaped = re.sub(r"([\\*<>~$\[\]])", r"\\\1", words)
    escaped = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", escaped)
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", escaped)


def _page(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"
