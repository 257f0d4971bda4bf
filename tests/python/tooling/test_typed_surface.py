"""The step of `make check` about the types that users see tells what is missing, by name."""

from __future__ import annotations

from typing import Any

import pytest

from tools import typed_surface


def symbol(name: str, *, known: bool, exported: bool = True) -> dict[str, Any]:
    error = {"severity": "error", "message": "no annotation"}
    return {
        "name": name,
        "isExported": exported,
        "isTypeKnown": known,
        "diagnostics": [] if known else [error, {"severity": "warning", "message": "doc"}],
    }


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A report of pyright's, to be filled; nothing is pending."""
    report: dict[str, Any] = {"pyTypedPath": "somewhere", "symbols": []}
    monkeypatch.setattr(typed_surface, "report", lambda: report)
    monkeypatch.setattr(typed_surface, "NOT_YET", ())
    return report


def test_names_of_known_type_and_private_ones_pass(found: dict[str, Any]) -> None:
    found["symbols"] = [symbol("a", known=True), symbol("b", known=False, exported=False)]

    assert typed_surface.main() == 0


def test_a_public_name_of_unknown_type_is_refused(
    found: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    found["symbols"] = [symbol("procrastinate.a", known=False)]

    assert typed_surface.main() == 1
    assert capsys.readouterr().out == "procrastinate.a: no annotation\n"


def test_a_package_that_does_not_say_that_it_is_typed_is_refused(found: dict[str, Any]) -> None:
    found["pyTypedPath"] = None

    assert typed_surface.main() == 1


def test_what_is_pending_passes_until_it_is_done(
    found: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(typed_surface, "NOT_YET", ("procrastinate.cli.",))
    found["symbols"] = [symbol("procrastinate.cli.a", known=False)]
    assert typed_surface.main() == 0

    found["symbols"] = [symbol("procrastinate.cli.a", known=True)]

    assert typed_surface.main() == 1
    assert "take it off the list" in capsys.readouterr().out
