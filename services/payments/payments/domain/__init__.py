"""The rules of money: what is due, what arrived, what goes back. Pure functions; rules are data."""
