"""The commands: each gathers facts, has them judged, and returns a record."""
