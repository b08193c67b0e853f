"""Cordboard's call control: from a company's YAML to what a switch is told to do.

Glossary (one word per thing, the field's own):

=============  ========================================================================================
company        a tenant: one YAML file, its numbers, people and flows
routing        what that file says once it is checked; a *version* of it has a content hash
flow, step     a flow is the operator's named graph; a step is one node of it, run by one class per verb
outcome        the word by which a step says how it ended (``then``, ``busy``, ``timeout`` …)
edge           where an outcome leads: a step, a flow, ``flow/step``, ``hangup`` or ``return``
call           one caller's journey: the pure machine in ``call.py``
session        the live side of a call: one outbound Event Socket connection (``session.py``)
leg            a telephone that we ring for a call: a channel of its own on the switch
join           to connect the caller with a leg that is ready; from then on they *talk*
let go         the owner's closing of its connection at the joining: a talk needs no controller
take over      a call that comes to a controller with a checkpoint on it: after a crash, a drain or a talk
checkpoint     the call's state, written on its channel as ``cordboard_state``
epoch          how many times the call has been taken over, plus one
forward        a person's rule for calls that they do not take; a *chain* is the rules followed in one call
screening      what a phone hears and confirms (key 1) before it may be joined; the switch does it by itself
trunk          a way out: a gateway of the switch; a *cap* is the most calls outside that a name may have
fact           a small versioned record of something that happened
voice          what speaks a language: espeak-ng or a program, by a setting; its id is part of a sound's name
command        what the web or the command line asks of controllers; also what a call's machine asks of its session
switch         a FreeSWITCH; in routing, ``switch`` is the operator's day/night switch (``*21``)
=============  ========================================================================================

The pure modules (``messages call hunt holding forwards dialling policy voicemail keypad phrases queueing queue_views
state view wire rehearse steps/ routing/``) know no socket, clock, Redis or log; ``tests/test_architecture.py`` holds
them to it.
"""
