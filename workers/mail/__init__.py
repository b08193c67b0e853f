"""Mail: messages with their sound, calls that were missed, alarms.

================  ==================================================================================================
``owing.py``      which mails a fact makes: rows, written in the fact's own transaction
``composing.py``  from a row to a mail, in the language of whoever gets it.  Pure
``sound.py``      the sound of a message: attached, or an address in the store
``sending.py``    one mail to the SMTP server, and what its answers mean
``jobs.py``       sends what is due; tries again; gives up with an alarm
================  ==================================================================================================
"""
