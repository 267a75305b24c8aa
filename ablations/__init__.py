"""What we try: studies that compare recipes over paired seeds, driven by Optuna."""
