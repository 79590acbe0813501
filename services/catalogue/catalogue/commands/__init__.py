"""Commands of editors: each loads, decides, stores and publishes in the caller's transaction."""
