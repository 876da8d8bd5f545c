"""The operator's command line: see runs, steer them, check a deployment. Knows the orchestrator, nothing else."""
