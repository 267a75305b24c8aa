"""The paper's claims as docs/paper.md shows them: results, figures, and looks at why a claim failed."""
