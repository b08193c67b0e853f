"""Work off the call path: what calls leave behind becomes rows, webhooks, mail, and recordings in a store.

``cordboard work`` (``cli``) keeps a process for each kind of it alive (``running``); each answers the bell of one
queue (``answering``, ``bell``), and others ring for whatever is due (``sweeping``).  RQ carries rings only: what is to
be done stands in rows, in the stream of facts and in the spool.

Never imports gevent; ``callcontrol`` names its jobs by dotted name and never imports it.
"""
