"""Predicted label maps against references: matched, scored, summarised; folds pooled; submissions checked."""
