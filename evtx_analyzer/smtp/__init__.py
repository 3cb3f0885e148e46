"""From rows of SMTP logs to sessions, and from sessions to rejections.

This is the way of a row through the modules of this folder. Rows of a log of 1 MiB or more are first read in bulk::

    blocks      splits 512 kB of a log into rows with one regular expression
    fold        puts rows of an Exchange protocol log together to sessions (``connections``: rows of an IIS log)
    outcomes    reduces a session whose shape is known to its outcome: when it began and what was accepted
    refused     reduces a refused session whose shape is known to the parts in which its refusals differ from others

A session that was reduced goes no further: it is counted. Rows of all other sessions and of smaller logs are read one
by one, get their signals (``sigma/match.py``), and go on::

    sessions    puts rows together to sessions, with ``transaction`` (commands and replies) and ``certificates`` (TLS)
    deliveries, other_errors, clock_skew
                count each session, whether it was refused or not
    folding     packs the refusals of a session: what is the same in many of them is held once

When all logs are read, it is known to which machine each folder belongs. Then ``refusals`` makes rejections::

    folding     unpacks the refusals that another log may show too
    rejections  makes a sighting of each of them, and of each refused message of message tracking and reports
    clock_skew  corrects times by the remote clock, and marks those of a wrong time zone
    merge       makes one rejection of all sightings of one refusal
    folding     packs the refusals of large incidents again
"""
