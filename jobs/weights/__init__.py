"""Weights that are baked into the GPU images: what is locked, fetched and verified when an image is built."""
