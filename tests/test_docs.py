"""The pages that are written from the code are those that are checked in."""

from pathlib import Path

from workbench.describe import monitors_page

DOCS = Path(__file__).parent.parent / "docs"


def test_the_page_of_monitors_is_the_glossary() -> None:
    page = (DOCS / "monitors.md").read_text()
    assert page == monitors_page(), "write it anew: workbench metrics --markdown > docs/monitors.md"
