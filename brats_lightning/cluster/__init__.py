"""Processes on one machine or many: who they are, when they must stop, and what a batch system does with them."""
