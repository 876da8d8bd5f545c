"""Named entities: spans, the tagger, its evaluation and its predictions."""
