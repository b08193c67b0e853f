"""Recordings: from the spool to the store, each step on a ledger."""
