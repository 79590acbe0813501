"""Commands of the gateway: each loads, decides, stores and publishes in the caller's transaction."""
