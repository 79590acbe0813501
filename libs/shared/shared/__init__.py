"""What every service stands on; it knows no service and holds no business rule."""
