"""A job queue whose whole behaviour lives in PostgreSQL."""
