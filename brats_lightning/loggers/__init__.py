"""Where a run is written down while it goes on: a CSV beside it, and W&B."""
