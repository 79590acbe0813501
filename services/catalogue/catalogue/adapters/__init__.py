"""What lies outside of a request: the memory of this process."""
