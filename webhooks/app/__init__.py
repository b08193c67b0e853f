"""The HTTP API: what a company's programs may ask for and do, and what shows that all is well.

Knows no switch and no spool: it reads the journal's tables, and what it wants done it asks of controllers
(``callcontrol.commands``) or writes as rows that workers see to.

==============  ========================================================================================
``web``         the application (``create_app``) and the server that runs it
``reception``   the server's worker: who has not said everything yet has no thread
``door``        who asks, what they may, for which company, how often, and what a body may look like
``problems``    everything that goes wrong, as problem documents (RFC 9457)
``resources/``  the operations, a module for each subject
``desk``        what is asked of others: commands, the routing that is published, workers' functions
``openapi``     how an operation is declared, and the description of them all
``tokens``      the tokens: made, found, revoked
``watching``    ``/healthz``, ``/readyz`` and ``/metrics``
==============  ========================================================================================
"""
