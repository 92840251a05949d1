"""Accounts and orders of another system from files: each row becomes ordinary commands or messages, posted at once."""
