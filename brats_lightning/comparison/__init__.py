"""Which of several methods is better, and whether the cases suffice to say so."""
