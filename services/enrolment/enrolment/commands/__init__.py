"""What one may ask of enrolment: load, decide, store, announce."""
