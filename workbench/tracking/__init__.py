"""From a run to MLflow: a spool that it writes, a thread that delivers it, the store, and its UI."""
