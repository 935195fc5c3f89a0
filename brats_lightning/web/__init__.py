"""`brats serve`: the web application, for people without a terminal."""
