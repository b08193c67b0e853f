"""The operator's workbench: everything that says what routing does before a caller hears it.

=================  ==============================================================================================
``walk.py``        one call on a clock of its own; whatever it has to know is a :class:`~.walk.Question`
``rehearse.py``    walks that the operator wrote down, judged
``telling.py``     a walk as text, as it goes
``trying.py``      one walk told, asking a person
``explore.py``     every walk there is: the same call with every answer to every question
``compare.py``     two versions, walk for walk: what ends elsewhere
``unwalked.py``    what of a change no walk shows, as it is written
``times.py``       times in words: intervals back to ``Mon–Fri 18:00–19:00``
``preview.py``     a number's next openings and closings
``graph.py``       a flow as a picture: what it shows
``layout.py``      where that stands on the paper
``drawing.py``     its SVG, and the page with all of them
``schema.py``      what may stand in a routing file, as a JSON Schema
``explain.py``     each code of ``check``, with an example
``scaffold.py``    the first file of a new company
``keeping.py``     what is written: a walk that was tried, a first file
``cli.py``         the commands
=================  ==============================================================================================

All but the last two are pure, as the call itself: no socket, no clock, no Redis; files are read by
``routing/files.py``.  Nothing that carries calls imports it; the publisher does, since it rehearses what it publishes.
"""
