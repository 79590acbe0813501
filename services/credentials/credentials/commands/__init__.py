"""The commands: each loads rows, decides, stores, and announces."""
