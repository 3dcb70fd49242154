"""Data for deep learning: moving, feeding and scheduling it."""
