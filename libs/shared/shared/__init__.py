"""The library that every service builds on; it imports no service and holds no business rule."""
