"""Canonical tables → tables in which every group is whole, in a stable order."""
