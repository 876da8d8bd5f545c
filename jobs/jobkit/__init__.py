"""What jobs share: reading the export, storage, splits, evaluation, Labelbox rows, and how a job ends."""
