"""Answered records → tables, training rows, agreement: the way back."""
