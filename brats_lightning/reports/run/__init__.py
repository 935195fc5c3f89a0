"""The report of a training run: what its folder and W&B know of it, and the sections of its page."""
