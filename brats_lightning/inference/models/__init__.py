"""Trained networks as files: what they say of themselves, and how they are opened without running code."""
