"""The rules of money: what is asked, what arrived, what goes back. Pure functions; rules are data."""
