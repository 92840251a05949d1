"""Accounts in the words of others, ready to be sent as JSON: ours, Square's, Lightrail's."""
