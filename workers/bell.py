"""The doorbell: tells the workers of a queue that there may be something to do.

RQ carries the ring, nothing else: what there is to do stands in rows and manifests, and a job that finds nothing ends.
So a ring may be lost or come twice; rings that nobody has answered yet are one.

=======================  ===================================================================================
``journal``              facts into rows (``workers.journal.jobs.take_facts``)
``delivery``             webhooks that are due (``workers.delivery.jobs.deliver``)
``mail``                 mails that are due (``workers.mail.jobs.send``)
``recordings-<switch>``  the spool of that switch's host (``workers.recordings.jobs.see_to_spool``)
=======================  ===================================================================================
"""

from __future__ import annotations

#: What a ring of each queue runs, by dotted name.
JOBS = {
    "journal": "workers.journal.jobs.take_facts",
    "delivery": "workers.delivery.jobs.deliver",
    "mail": "workers.mail.jobs.send",
    "recordings": "workers.recordings.jobs.see_to_spool",
}
