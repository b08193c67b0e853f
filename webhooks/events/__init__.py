"""What subscribers are told: the public catalogue of events, one schema each.  Pure."""
