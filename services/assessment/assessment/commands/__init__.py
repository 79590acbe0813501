"""What one may ask of assessment: load, decide, store, announce."""
