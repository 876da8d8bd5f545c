"""The report of a run: one self-contained HTML page and what it is made of."""
