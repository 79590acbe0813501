"""Briefs, windows, attempts, submitted work, marks, and the board that turns them into credit."""
