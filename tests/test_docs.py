"""The pages that are written from the code are those that are checked in."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.catalogue.describe import find_trick
from workbench.catalogue.metrics import monitors_page
from workbench.catalogue.pages import WHEN, recipes_page, tricks_page
from workbench.catalogue.synonyms import SYNONYMS
from workbench.names import unknown
from workbench.recipes import recipes
from workbench.trick import SLOTS
from workbench.tricks import built_in

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize(("name", "page"), [("tricks", tricks_page), ("recipes", recipes_page)])
def test_the_page_is_what_the_docstrings_say(name: str, page: Callable[[], str]) -> None:
    written = (DOCS / f"{name}.md").read_text()
    assert written == page(), f"write it anew: workbench {name} --markdown > docs/{name}.md"


def test_every_slot_is_said_to_be_called_at_some_time() -> None:
    assert list(WHEN) == list(SLOTS)


def test_every_link_inside_the_pages_leads_somewhere() -> None:
    pages = {"tricks.md": tricks_page(), "recipes.md": recipes_page()}
    headings = {
        name: [title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)", page, re.M)]
        for name, page in pages.items()
    }
    for name, page in pages.items():
        assert len(headings[name]) == len(set(headings[name])), "two headings share an anchor"
        for target in re.findall(r"(?<=\]\()[^)]+", page):
            file, _, anchor = target.partition("#")
            if target.startswith("https://"):
                continue
            assert not anchor or anchor in headings[file or name], unknown("anchor", target, [])
            assert (DOCS / (file or name)).is_file(), target


def test_the_pages_tell_of_every_trick_and_recipe() -> None:
    tricks, known = tricks_page(), recipes_page()
    assert all(f"\n### {name}\n" in tricks for name in built_in())
    assert all(f"\n## {name}\n" in known for name in recipes())


def test_the_page_of_monitors_is_the_glossary() -> None:
    page = (DOCS / "monitors.md").read_text()
    assert page == monitors_page(), "write it anew: workbench metrics --markdown > docs/monitors.md"


def test_the_readme_counts_tricks_slots_and_recipes_right() -> None:
    readme = " ".join((DOCS.parent / "README.md").read_text().split())
    assert f"There are {len(built_in())} of them in {len(SLOTS)} slots" in readme
    assert f"and {len(recipes())} are published ones" in readme


def test_every_name_of_the_field_leads_to_a_trick_that_is_called_otherwise() -> None:
    assert set(SYNONYMS.values()) <= set(built_in())
    assert not set(SYNONYMS) & set(built_in())
    with pytest.raises(ValueError, match=r"^unknown trick 'remax'; here it is called 'greedy_"):
        find_trick("remax")
