"""The flat oracle by line of the update; `tests.reference.flat_ppo` is where to begin reading."""
