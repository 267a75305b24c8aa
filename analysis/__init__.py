"""What we learned: from runs in MLflow to statements with effect, interval and n. Never torch."""
