"""Webhooks: signed, retried, and never to a private address."""
