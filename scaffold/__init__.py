"""Scaffolds: a new pipeline or job that works at once, and a pipeline from another folder put in its place."""
