"""What comes out: probabilities, decisions, label maps on the patient's own grid, exported networks."""
