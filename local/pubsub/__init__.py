"""A small Pub/Sub server that speaks the real gRPC API, pushes, retries, dead-letters, and survives a restart."""
