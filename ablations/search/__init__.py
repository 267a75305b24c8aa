"""Search: Optuna proposes recipes, each is judged over the same seeds."""
