"""The journal: facts become rows once each, and everything that follows from a fact is written with it."""
