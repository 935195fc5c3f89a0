"""Networks over whole volumes: which images they take, windows, flips, ensembles."""
