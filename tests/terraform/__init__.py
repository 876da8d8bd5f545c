"""The deployment, planned and applied by the real terraform."""
