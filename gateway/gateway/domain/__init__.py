"""The gateway's rules: who may have an account, how a session goes on, when a key signs."""
