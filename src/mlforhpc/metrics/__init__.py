"""Figures of merit: pure functions of arrays, or of a run folder's trace; no engine, no simulator, no learner.

strata -> quality (q) -> bootstrap (limits) -> verdict;  quality + ladder -> gain;  trace -> system;  figures -> compare.
"""
