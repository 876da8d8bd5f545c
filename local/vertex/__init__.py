"""A stand-in for Vertex AI: its gRPC API of jobs, pipelines, data sets and models, with jobs as local processes."""
