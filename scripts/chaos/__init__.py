"""Chaos: what must hold while everything is killed and fails; bounded, and it prints its figures."""
