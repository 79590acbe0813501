"""What one may ask of the gateway: load, decide, store, announce."""
