"""The commands of payments: each loads, decides, stores and announces."""
