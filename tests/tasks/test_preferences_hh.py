"""Real human preferences: every row of HH-RLHF's harmless-base test split is read.

Its text is offensive, so only numbers are compared and a failure shows no text.
"""

from functools import cache
from pathlib import Path

import pytest

from workbench.tasks.preferences import Flaw, PreferencesSettings, PreferencesTask
from workbench.tasks.preferences.formats import MarkedFormat
from workbench.tasks.preferences.pairs import TextPair, read_pair
from workbench.tasks.preferences.sources import read_rows

DATA = Path(__file__).parents[3] / "shared" / "data" / "hh-rlhf" / "harmless-base-test.jsonl.gz"
SETTINGS = PreferencesSettings(data=str(DATA), max_prompt_tokens=128, max_response_tokens=128)

pytestmark = pytest.mark.skipif(
    not DATA.is_file(), reason="HH-RLHF lies beside the repository only where somebody put it"
)


@cache
def task() -> PreferencesTask:
    return PreferencesTask(SETTINGS)


def test_every_row_is_read_and_every_pair_ends_its_prompt_with_the_assistant_marker() -> None:
    roles = SETTINGS.roles
    read = [read_pair(row, MarkedFormat(roles), roles) for row in read_rows(SETTINGS)]
    pairs = [pair for pair in read if isinstance(pair, TextPair)]
    # 4 rows have an empty response; in 5 the two dialogues part before their last turns.
    assert (len(read), len(pairs)) == (2312, 2303)
    assert sum(pair.prompt.endswith("\n\nAssistant:") for pair in pairs) == 2303
    assert sum(pair.prompt.startswith("\n\nHuman:") for pair in pairs) == 2303
    assert sum(pair.chosen != pair.rejected for pair in pairs) == 2303
    assert sum("\n\nHuman:" in pair.chosen + pair.rejected for pair in pairs) == 0


def test_drops_and_the_split_are_counted() -> None:
    assert task().rows == 2312
    assert dict(task().dropped) == {Flaw.EMPTY: 4, Flaw.OTHER_TURNS: 5}
    pairs = task().preferences(lambda prompts, seed: [])
    # A tenth of 2303 pairs, rounded up to the end of a dialogue.
    assert (len(pairs.train), len(pairs.held_out)) == (2072, 231)
    assert len(task().tokenizer) == 2048


def test_no_prompt_is_on_both_sides_and_everything_is_within_its_cap() -> None:
    pairs = task().preferences(lambda prompts, seed: [])
    shared = {pair.prompt for pair in pairs.train} & {pair.prompt for pair in pairs.held_out}
    assert len(shared) == 0
    everything = [*pairs.train, *pairs.held_out]
    assert max(len(pair.prompt) for pair in everything) == 128
    assert max(len(pair.chosen) for pair in everything) == 128
    assert max(len(pair.rejected) for pair in everything) == 128
