"""The outside world: where the submitted files lie."""
