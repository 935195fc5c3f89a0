"""`brats check`: a folder of cases looked through, as tables on the screen, as a page and as JSON."""
