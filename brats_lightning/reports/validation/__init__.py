"""Pictures of the same validation cases all through training."""
