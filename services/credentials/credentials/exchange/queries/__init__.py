"""Reads of shares, transfers, prior learning and partners."""
