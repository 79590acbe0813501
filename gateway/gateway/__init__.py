"""The gateway: accounts and tokens, and the front door through which every service is reached."""
