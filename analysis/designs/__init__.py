"""What a designed study or a search tells: effects of tricks alone and together, and what mattered."""
