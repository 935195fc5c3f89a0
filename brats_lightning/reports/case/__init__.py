"""The report of a case: its files, its numbers, and the sections of its page."""
