"""What subscribers are told: the public catalogue of events, one schema each.  Pure, and imports nothing else of ours.

=================  =============================================================================================
``catalogue.py``   the events: a schema, an example and its surprises for each
``deriving.py``    from a fact to events; which facts are told to nobody, and why
``reading.py``     the careful reader of facts: whatever stands there, typed or None
``envelope.py``    what every event is wrapped in, and the bytes that are signed
``publishing.py``  the catalogue as JSON Schema, and as the document ``webhooks/EVENTS.md``
``cli.py``         ``cordboard events``
=================  =============================================================================================

**The rule of versions.**  Within a version of a type, fields and words of a list of words are only added.  Whatever
else changes (a field goes, becomes null, means something else) is a new ``version`` of that type.
``tests/frozen_events.json`` holds what was promised.
"""
