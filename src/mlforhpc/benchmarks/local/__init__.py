"""Local machine learning: many small independent fits, and how well an engine launches them."""
