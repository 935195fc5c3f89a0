"""Post-processing fitted to validation cases."""
