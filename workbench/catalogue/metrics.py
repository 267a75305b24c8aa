"""Metrics in words: a table for the terminal, and the page docs/monitors.md."""

import inspect

from rich.table import Table

from workbench.collapse import find_collapse
from workbench.glossary import GLOSSARY
from workbench.settings import CollapseRule, PruneSettings, Settings


def metric_table() -> Table:
    """Return a table of every metric."""
    table = Table("metric", "unit", "estimator", "source", box=None)
    for metric in GLOSSARY.values():
        table.add_row(metric.name, metric.unit, metric.estimator, metric.source)
    return table


def monitors_page() -> str:
    """Write docs/monitors.md from the glossary, the rule of collapse and that of pruning."""
    rule = inspect.cleandoc(find_collapse.__doc__ or "").split("\n\n")[1]
    rows = [
        f"| `{m.name}` | {m.unit} | {_cell(m.estimator)} | {_cell(m.source)} |"
        for m in GLOSSARY.values()
    ]
    return "\n".join(
        [
            "# Monitors",
            "",
            "Written by `workbench metrics --markdown` from `workbench/glossary.py`.",
            "",
            "y is a response of |y| tokens, the end token included; π_old sampled it, π is being",
            "updated, π_ref is the SFT policy. With `fixed_length`, which samples on to the cap,",
            "perplexities, entropy and KL are over all tokens that were sampled, while length, distinct",
            "and repeated go by the text, which ends with the first end token. A metric is a mean over",
            "the responses of one PPO iteration unless its estimator says otherwise; the step is the",
            "iteration, and step k is the policy after k iterations. Log-probabilities are at the",
            "temperature that PPO trains at: 1, unless the settings or a trick say otherwise. Compare",
            "KL, entropy and perplexity between arms of one temperature, and of one rule for the end.",
            "",
            "| metric | unit | estimator | source |",
            "|---|---|---|---|",
            *rows,
            "",
            "## When a run has collapsed",
            "",
            rule,
            "",
            "These numbers are settings, the key `collapse` of a study file:",
            "",
            *_settings_rows(CollapseRule),
            "",
            "## Ending collapsed runs early",
            "",
            inspect.cleandoc(PruneSettings.__doc__ or "").partition("\n\n")[2],
            "",
            *_settings_rows(PruneSettings),
            "",
        ]
    )


def _settings_rows(kind: type[Settings]) -> list[str]:
    rows = [
        f"| `{n}` | {f.default} | {_cell(f.description or '')} |" for n, f in kind.model_fields.items()
    ]
    return ["| key | default | meaning |", "|---|---|---|", *rows]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
