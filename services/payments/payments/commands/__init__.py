"""What one may ask of payments: load, decide, store, announce."""
