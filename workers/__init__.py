"""Work off the call path, done by RQ: recordings to S3, the journal, webhooks, mail.  Empty until then.

Never imports gevent; ``callcontrol`` names its jobs by dotted name and never imports it.
"""
