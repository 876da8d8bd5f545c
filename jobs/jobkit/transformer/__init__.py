"""Pretrained language models: where they lie, how texts are cut for them, and how they are fine-tuned."""
