"""Bounding boxes: geometry, Vertex's limits, the detector, its evaluation and its predictions."""
