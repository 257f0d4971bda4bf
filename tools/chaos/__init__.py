"""
What happens on bad days, on purpose: `make chaos`.

A PostgreSQL of its own, workers and producers as processes of their own, a proxy between them,
and a list of faults that a seed decides. What everybody saw is recorded, and checked at the end:
nothing lost, nothing stuck, no lock with two owners, every attempt counted.
"""
