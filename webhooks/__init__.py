"""What the outside sees: public event schemas and the HTTP API (Flask).  Empty until then.

Never imports gevent.
"""
