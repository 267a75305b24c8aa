"""Where a claim failed: what was looked at afterwards to see why.

Chosen when the verdicts were known, so that these numbers have no bound to pass, no p, and no part in
any verdict.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from analysis import evidence as of
from analysis.claims import Open
from analysis.intervals import FloatArray
from analysis.monitor_contest import advantage_of_action_space, lead_of_action_space
from analysis.paper import part_row
from analysis.verdicts import Part

Look = Callable[[Open], Iterator[Part]]
STUDIES = ("afterwards_entropy", "afterwards_kl", "afterwards_few_pairs", "afterwards_short")
"""Studies that were run for these questions alone."""


def number(what: str, unit: str, values: FloatArray) -> Part:
    """Name a mean over seeds that nothing depends on."""
    return Part(what, unit, values, 0.0, "above")


def c05(study: Open) -> Iterator[Part]:
    """And beside an arm whose critic starts as vanilla PPO's does, that with the KL penalty?"""
    arms, pair = study("07"), ("vanilla", "kl_penalty")
    area = advantage_of_action_space(arms, pair)
    yield number("area, action space less reward and losses", "area", area)
    lead = lead_of_action_space(arms, pair)
    yield number("lead, action space less reward and losses", "iterations", lead)


def c06(study: Open) -> Iterator[Part]:
    """Do tails grow with a poorer reward model, or where responses cannot double in length?"""
    tail = of.minus(of.log(of.tail(of.end)), of.log(of.tail(of.start)))
    for name, words in (("few_pairs", "a twelfth of the pairs"), ("short", "at most 32 tokens")):
        found = study(f"afterwards_{name}").values("vanilla", tail)
        yield number(f"ln lower tail, end less start, {words}", "ln", found)


def c08(study: Open) -> Iterator[Part]:
    """Does a larger entropy bonus make PPO last?"""
    arms = study("afterwards_entropy")
    for weight in ("0.03", "0.1"):
        last = arms.less(f"entropy_{weight}", "vanilla", of.lasting)
        yield number(f"lasting, weight {weight} less vanilla", "iterations", last)


def c14(study: Open) -> Iterator[Part]:
    """Does the score feel larger weights?"""
    arms = study("afterwards_kl")
    for low, high in (("0.2", "0.4"), ("0.4", "0.8")):
        score = arms.score(f"kl_{low}", f"kl_{high}")
        yield number(f"final score, weight {low} less {high}", "σ", score)


LOOKS: Mapping[str, Look] = {"C05": c05, "C06": c06, "C08": c08, "C14": c14}


def looked_at(open_study: Open) -> dict[str, Any]:
    """Return, by claim, the question and what was found, as plain data; none where runs are missing."""
    found = {}
    for claim, look in LOOKS.items():
        try:
            rows = [part_row(part) for part in look(open_study)]
        except LookupError:
            continue
        found[claim] = {"question": look.__doc__, "parts": rows}
    return found
