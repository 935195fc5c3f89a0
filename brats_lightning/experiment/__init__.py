"""A run: trained, scored, its cache filled, each from one configuration or from the run's folder alone."""
