"""The commands of assessment: each loads, decides, stores and announces."""
