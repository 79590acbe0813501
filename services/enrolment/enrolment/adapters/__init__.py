"""What the domain needs from outside it."""
