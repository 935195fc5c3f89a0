"""Three dimensions: surfaces of the brain and the tumour, drawn as a picture, on a page and into a GLB file."""
