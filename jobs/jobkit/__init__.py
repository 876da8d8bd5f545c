"""What jobs share: reading the export, storage, splits, evaluation, Labelbox rows, and how a job ends."""

# Of the whole project; what `--version` of a job answers. A test compares it with pyproject.toml.
__version__ = "0.1.0"
