"""The simulation: the real engine against ports in memory, a clock of its own, and every fault a seed can draw."""
