"""From probabilities to labels: a decision, and steps that clean its result."""
