"""
Ours against other queues on PostgreSQL, each from its published package, on one server.

``environments`` installs the packages, ``programs/`` runs them as black boxes, ``cases`` says
what is compared and ``measures`` how, ``results`` keeps what was measured, ``table`` shows it.
"""
