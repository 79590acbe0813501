"""The catalogue: what the federation teaches, in frozen versions, and what it costs at any instant."""
