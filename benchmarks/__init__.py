"""
The programs that print the figures of docs/benchmarks.md.

``python -m benchmarks`` runs every case; ``python -m benchmarks.engine exchange deep`` some.
They talk SQL only, to a real server that syncs each commit, and measure what is compared in
turns within one run: on a shared machine only the ratio of two neighbours means anything.
"""
