"""The embedded cloud: stand-ins that the real client libraries talk to, and the command that runs it all."""
