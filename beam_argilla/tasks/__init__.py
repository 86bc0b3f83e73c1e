"""Whole groups → records: one file a task. No Beam, no network."""
