"""
The database in memory: what the functions of the schema do, for tests that need no server.

It answers the calls of :mod:`procrastinate.rpc` as PostgreSQL does; a model-based test gives
both the same random commands.
(docs/decisions/0040-the-queue-in-memory-answers-calls.md)
"""
