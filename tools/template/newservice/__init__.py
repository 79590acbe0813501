"""What this service is for."""
