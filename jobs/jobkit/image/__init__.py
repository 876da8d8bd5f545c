"""Images: their bytes kept once, Vertex's limits, features, heads and predictions of whole images."""
