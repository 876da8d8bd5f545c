"""Tests of the simulation: that it holds, that it repeats itself, and that it can fail."""
