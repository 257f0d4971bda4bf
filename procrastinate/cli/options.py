"""
Options that an environment variable can set, too.

argparse knows nothing of the environment. An option declared here leaves no trace in what is
parsed unless it was given; afterwards :func:`resolve` fills in what was not, from the
environment or from the option's default. So a variable is read for the command that is run and
for no other, and what it holds is checked like what is typed.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ENV_PREFIX = "PROCRASTINATE"

_SPECS = "_option_specs"


def env_bool(value: str) -> bool:
    """
    Read a boolean from the environment, by its first letter.

    Raises
    ------
    argparse.ArgumentTypeError
        It is neither of 0, n, f nor of 1, y, t.
    """
    first = value[:1].lower()
    if first in {"0", "n", "f"}:
        return False
    if first in {"1", "y", "t"}:
        return True
    raise argparse.ArgumentTypeError(
        f"Invalid environment variable value for boolean: {value!r}. "
        "Expected one of 0/n/f or 1/y/t"
    )


def role(value: str) -> tuple[str, str | None]:
    """
    Read which part a role of the database is to have, as in ``worker=shop_worker``.

    Raises
    ------
    argparse.ArgumentTypeError
        There is no such part.
    """
    part, equals, name = value.partition("=")
    if not equals or part not in {"producer", "worker", "operator", "auditor"}:
        raise argparse.ArgumentTypeError(
            f"Invalid role: {value!r}. Expected producer, worker, operator or auditor=NAME"
        )
    return part, name or None


class ActionWithNegative(argparse.Action):
    """A flag that is true, unless it is spelled the other way."""

    def __init__(
        self, option_strings: Sequence[str], dest: str, *, negative: str, **kwargs: Any
    ) -> None:
        super().__init__(option_strings, dest, nargs=0, **kwargs)
        self.negative = negative

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Store what the spelling says."""
        setattr(namespace, self.dest, option_string != self.negative)


class HelpFormatter(argparse.HelpFormatter):
    """Show the defaults that the options really have: argparse sees none."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        shown = getattr(action, "shown_default", argparse.SUPPRESS)
        if shown is argparse.SUPPRESS or action.help is None:
            return action.help
        return f"{action.help} (default: {str(shown).replace('%', '%%')})"


@attrs.frozen(kw_only=True)
class OptionSpec:
    """How an option that was not given gets its value."""

    parser: argparse.ArgumentParser
    action: argparse.Action
    envvar: str | None
    convert: Callable[[str], Any] | None
    default: Any

    def value(self, environ: Mapping[str, str]) -> Any:
        """
        Return the variable's value, or the default: SUPPRESS if there is neither.

        A value that does not fit ends the program, as a wrong option does.
        """
        raw = environ.get(self.envvar, "") if self.envvar else ""
        if not raw:
            return self.default
        if self.convert is None:
            return self._checked(raw)
        try:
            return self._checked(self.convert(raw))
        except argparse.ArgumentTypeError as exc:
            message = str(exc)
        except (TypeError, ValueError):
            name = getattr(self.convert, "__name__", repr(self.convert))
            message = f"invalid {name} value: {raw!r}"
        self._fail(message)
        return None

    def _checked(self, value: Any) -> Any:
        choices = self.action.choices
        if choices is not None and value not in choices:
            listed = ", ".join(map(repr, choices))
            self._fail(f"invalid choice: {value!r} (choose from {listed})")
        return value

    def _fail(self, message: str) -> Any:
        name = "/".join(self.action.option_strings) or self.action.dest
        self.parser.error(f"argument {name}: {message} (from {self.envvar})")


class OptionGroup:
    """
    Declare the options of a parser, or of a group inside it.

    Parameters
    ----------
    parser
        The parser whose options they are, and whose usage an error shows.
    container
        The group, if they are in one.
    prefix
        What the names of their variables begin with.
    """

    def __init__(
        self,
        parser: argparse.ArgumentParser,
        *,
        prefix: str = ENV_PREFIX,
        container: Any = None,
        specs: list[OptionSpec] | None = None,
    ) -> None:
        self._parser = parser
        self._prefix = prefix
        self._container = parser if container is None else container
        self.specs: list[OptionSpec] = [] if specs is None else specs

    def group(self, title: str) -> OptionGroup:
        """Begin a group that has a title in the help."""
        return self._inside(self._container.add_argument_group(title))

    def exclusive(self) -> OptionGroup:
        """Begin a group of which one option may be given."""
        return self._inside(self._container.add_mutually_exclusive_group())

    def _inside(self, container: Any) -> OptionGroup:
        return OptionGroup(
            self._parser, prefix=self._prefix, container=container, specs=self.specs
        )

    def add(
        self,
        *names: str,
        help: str,  # noqa: A002  (argparse's own name)
        env: str | None = None,
        env_help: str = "",
        env_type: Callable[[str], Any] | None = None,
        default: Any = argparse.SUPPRESS,
        **kwargs: Any,
    ) -> None:
        """
        Add an option.

        ``env`` is the rest of its variable's name, ``env_help`` what may stand there, and
        ``env_type`` what converts it if the option's own ``type`` does not. An option without
        a ``default`` that nobody set is absent from what is parsed.
        """
        envvar = f"{self._prefix}_{env}" if env else None
        if envvar:
            help = f"{help} (env: {envvar}{f': {env_help}' if env_help else ''})"  # noqa: A001
        action: Any = self._container.add_argument(
            *names, help=help, default=argparse.SUPPRESS, **kwargs
        )
        action.shown_default = default
        self.specs.append(
            OptionSpec(
                parser=self._parser,
                action=action,
                envvar=envvar,
                convert=env_type or kwargs.get("type"),
                default=default,
            )
        )

    def add_flag(
        self,
        *names: str,
        negative: str,
        help: str,  # noqa: A002  (argparse's own name)
        env: str,
        default: bool | str = argparse.SUPPRESS,
    ) -> None:
        """Add a flag that can be switched off by ``negative``."""
        self.add(
            *names,
            negative,
            action=ActionWithNegative,
            negative=negative,
            help=help,
            env=env,
            env_help="use 0/n/f or 1/y/t",
            env_type=env_bool,
            default=default,
        )

    def seal(self) -> None:
        """Let what is parsed know of these options, for :func:`resolve`."""
        # A key for each parser: a subcommand's must not replace the program's.
        self._parser.set_defaults(**{f"{_SPECS}:{self._parser.prog}": self.specs})


def resolve(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was parsed, with what was not given on the command line filled in."""
    result = {key: value for key, value in parsed.items() if not key.startswith(_SPECS)}
    for key, specs in parsed.items():
        if not key.startswith(_SPECS):
            continue
        for spec in specs:
            if spec.action.dest in result:
                continue
            value = spec.value(os.environ)
            if value is not argparse.SUPPRESS:
                result[spec.action.dest] = value
    return result
