"""What the installed distribution says about itself."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DISTRIBUTION = "procrastinate"


def extract_metadata() -> Mapping[str, str]:
    """
    Read author, email, license, url and version of the installed distribution.

    What the distribution doesn't say is an empty string; so is everything, version apart
    (``0.0.0``), where the package is imported without having been installed.
    """
    try:
        metadata = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return {"author": "", "email": "", "license": "", "url": "", "version": "0.0.0"}

    fields = {
        "author": "Author",
        "email": "Author-email",
        "license": "License-Expression",
        "url": "Home-page",
        "version": "Version",
    }
    present = set(metadata)
    return {
        key: str(metadata[header]) if header in present else ""
        for key, header in fields.items()
    }
