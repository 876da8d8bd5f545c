"""The orchestrator: it wakes on an event, decides from facts, launches or records, and returns in seconds."""
