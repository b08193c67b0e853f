"""Proofs by violence: workers killed, stores and subscribers that fail, and an account of what came through."""
