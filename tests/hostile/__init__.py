"""Input of people who mean harm, over real HTTP."""
