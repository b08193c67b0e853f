"""Cordboard's call control: from a company's YAML to what a switch is told to do.

Glossary (one word per thing, the field's own):

=============  ========================================================================================
company        a tenant: one YAML file, its numbers, people and flows
routing        what that file says once it is checked; a *version* of it has a content hash
publish        to make what the files say what new calls get; a *publication* has a number, and a record if it changed
               something: who, when, why; the *history* has all records
pin            a company stays at a version, whatever its file says, until it is published by name; *roll back*: to
               bring an earlier version back, and pin it
request        what somebody left in STATE to be published or rolled back; a *plan*: what a publication would change
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
queue          where callers wait for agents; a *line* is those of one queue, priority and need of skills
agent          a person who serves queues; one, however many queues they are in.  *Free*: on duty and idle
duty           what an agent wants: on, paused or out; set by a code, a command, or the hours of their duty
offer          an agent reserved for one caller, whose telephones ring; it has a number in the call
claim          to make an offer; *take*: the agent has answered and is the caller's, before the joining
miss           an offer that the agent did not take; after it they are *delayed*: left alone for a while
wrap-up        an agent's time after a talk from a queue; *elsewhere*: they talk, and not from a queue
lease          until when a reservation holds by itself; whoever has the thing renews it
look           a free agent with who waits, or a caller with who is free: what is decided on
stalled        a caller for whom nobody took up an offer: passed over until their owner enters them again
caretaker      what heals queues: the *sweeper* ends what is due of the dead, the *reconciler* asks switches
desk           where people ask about agents and queues, and change an agent's duty
place          to have a person's own telephone rung which then dials, by a command: click to call
exchange       where people ask about live calls, end one, and have one placed
fact           a small versioned record of something that happened
voice          what speaks a language: espeak-ng or a program, by a setting; its id is part of a sound's name
command        what the web or the command line asks of controllers; also what a call's machine asks of its session
switch         a FreeSWITCH; in routing, ``switch`` is the operator's day/night switch (``*21``)
=============  ========================================================================================

The pure modules (``messages call call_views hunt holding forwards dialling policy voicemail keypad phrases queueing
queue_rows queue_views sentences state view wire steps/ routing/``, and ``workbench/`` but for its ``cli.py``) know no
socket, clock, Redis or log; ``tests/test_architecture.py`` holds them to it.
"""
