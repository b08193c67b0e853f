"""``make bench``: what a call costs, side by side with less and with other, on this machine in one run.

``parts.py`` says what is measured, ``contestants.py`` what is started, ``callers.py`` (the stand-in switch, in a
process of its own) and ``sipp.py`` (a real one) who calls.  Everything is on loopback, in one temporary directory,
bounded in time, and ended when the run ends.  The exit code says whether it was measured, not whether it is fast.
"""
