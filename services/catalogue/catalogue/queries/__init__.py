"""The catalogue's reads: rows for editors and commands, ready-made JSON for the public."""
