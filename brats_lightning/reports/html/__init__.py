"""Reports as single HTML files: their shell, and the parts that they are put together from."""
