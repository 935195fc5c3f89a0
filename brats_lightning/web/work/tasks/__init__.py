"""What workers do for a case."""
