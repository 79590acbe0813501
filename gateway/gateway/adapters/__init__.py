"""What the gateway uses of the outside world and of the machine."""
