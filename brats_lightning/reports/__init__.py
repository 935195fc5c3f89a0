"""What one says about a run: tables and pictures."""
