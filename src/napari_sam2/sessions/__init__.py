"""Saved work: its steps, its document on disk, and replaying it."""
