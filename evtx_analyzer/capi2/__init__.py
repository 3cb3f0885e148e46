"""Put CAPI2 events together to operations: certificate checks with their chains, and what was done for them.

``neighborhoods`` looks for the events of a task in a large log, ``same_log`` joins exports of one log, ``task_tree``
puts the events of a task in their order, ``operations`` makes the operations, and ``issuers`` adds to incomplete chains
what is missing. ``summaries`` says in which words the report lists their events.
"""
