"""
Single mutants of a Python module: one small change each, which some test should notice.

Only the bodies of functions and methods are changed: what a module or a class says once, when it
is imported, can't be put in place of what already runs.
"""

from __future__ import annotations

import ast
import contextlib
from typing import TYPE_CHECKING, Any, cast

import attrs

if TYPE_CHECKING:
    import types
    from collections.abc import Generator, Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}
_LEFT_OUT = ast.Expr | ast.Assign | ast.AugAssign | ast.Raise | ast.Delete


@attrs.frozen
class Change:
    """What a node says instead."""

    node: ast.AST
    fields: dict[str, Any]
    what: str

    @contextlib.contextmanager
    def made(self) -> Generator[None]:
        old = {name: getattr(self.node, name) for name in self.fields}
        for name, value in self.fields.items():
            setattr(self.node, name, value)
        try:
            yield
        finally:
            for name, value in old.items():
                setattr(self.node, name, value)


@attrs.frozen(kw_only=True)
class Mutant:
    """A change of one function: `text` is all of the function, as it says it then."""

    name: str  # of the function, qualified
    lines: range  # of the statement that is changed, without those inside it
    what: str
    text: str
    change: Change
    module: ast.Module

    def code(self, filename: str) -> types.CodeType:
        """The code of the function."""
        with self.change.made():
            code = compile(ast.fix_missing_locations(self.module), filename, "exec")
        return next(inner for inner in _codes(code) if inner.co_qualname == self.name)


def mutants(text: str) -> Iterator[Mutant]:
    """All mutants of a module, in the order of its functions."""
    module = ast.parse(text)
    for name, function in _functions(module.body, ""):
        for statement, change in _of_statements(function):
            with change.made():
                said = ast.unparse(function)
            yield Mutant(
                name=name,
                lines=_lines(statement),
                what=change.what,
                text=said,
                change=change,
                module=module,
            )


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, type(code)):
            yield constant
            yield from _codes(constant)


def _functions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Function]]:
    for node in body:
        if isinstance(node, Function):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{prefix}{node.name}.")


def _lines(statement: ast.stmt) -> range:
    inside = [child.lineno for child in ast.walk(statement) if isinstance(child, ast.stmt)][1:]
    end = min(inside) if inside else (statement.end_lineno or statement.lineno) + 1
    return range(statement.lineno, max(end, statement.lineno + 1))


def _blocks(node: ast.AST) -> Iterator[tuple[ast.AST, str, list[ast.stmt]]]:
    """The lists of statements in a function, those of functions inside it too."""
    for inner in ast.walk(node):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(inner, field, None)
            if isinstance(block, list):
                yield inner, field, block


def _of_statements(function: Function) -> Iterator[tuple[ast.stmt, Change]]:
    for node, field, block in _blocks(function):
        for at, statement in enumerate(block):
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue  # a docstring
            for other in _instead(statement):
                changed = [*block[:at], other, *block[at + 1 :]]
                what = f"{_short(statement)} -> {_short(other)}"
                yield statement, Change(node, {field: changed}, what)
            for inner in _own_nodes(statement):
                for fields, what in _of_node(inner):
                    yield statement, Change(inner, fields, what)


def _instead(statement: ast.stmt) -> Iterator[ast.stmt]:
    if isinstance(statement, _LEFT_OUT):
        yield ast.Pass()
    elif isinstance(statement, ast.Return) and statement.value is not None:
        if ast.unparse(statement.value) != "None":
            yield ast.Return(value=ast.Constant(value=None))
    elif isinstance(statement, ast.Return | ast.Break):
        yield ast.Pass()
    elif isinstance(statement, ast.Continue):
        yield ast.Break()


def _own_nodes(statement: ast.AST) -> Iterator[ast.AST]:
    """A statement and its expressions: no statement inside it, no annotation."""
    yield statement
    for field, value in ast.iter_fields(statement):
        if field in {"annotation", "returns", "args"} and isinstance(statement, ast.stmt):
            continue
        children = cast("list[object]", value) if isinstance(value, list) else [value]
        for child in children:
            if isinstance(child, ast.AST) and not isinstance(
                child, ast.stmt | ast.excepthandler | ast.match_case
            ):
                yield from _own_nodes(child)


def _of_node(node: ast.AST) -> Iterator[tuple[dict[str, Any], str]]:
    """What else a node may say, and in words."""
    match node:
        case ast.If() | ast.While() | ast.IfExp():
            negated = ast.UnaryOp(op=ast.Not(), operand=node.test)
            yield {"test": negated}, f"condition: {_short(node.test)} -> not so"
        case ast.UnaryOp(op=ast.Not()):
            again = ast.UnaryOp(op=ast.Not(), operand=node.operand)
            yield {"operand": again}, f"not {_short(node.operand)} -> without not"
        case ast.Compare(ops=[op]) if type(op) in _COMPARED:
            other = _COMPARED[type(op)]()
            yield {"ops": [other]}, f"{_short(node)}: {_sign(op)} -> {_sign(other)}"
        case ast.BoolOp():
            both = isinstance(node.op, ast.And)
            said = f"{_short(node)}: " + ("and -> or" if both else "or -> and")
            yield {"op": ast.Or() if both else ast.And()}, said
        case ast.BinOp() if type(node.op) in _COMPUTED:
            computed = _COMPUTED[type(node.op)]()
            yield {"op": computed}, f"{_short(node)}: {_sign(node.op)} -> {_sign(computed)}"
        case ast.Constant():
            yield from _of_constant(node)
        case ast.Dict():
            for at, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
                keys = [*node.keys[:at], *node.keys[at + 1 :]]
                values = [*node.values[:at], *node.values[at + 1 :]]
                named = "**" + _short(value) if key is None else _short(key)
                yield {"keys": keys, "values": values}, f"entry {named} -> left out"
        case ast.Call():
            for at, keyword in enumerate(node.keywords):
                keywords = [*node.keywords[:at], *node.keywords[at + 1 :]]
                yield {"keywords": keywords}, f"argument {_short(keyword)} -> left out"
        case ast.Name() if node.id in _SWAPPED:
            yield {"id": _SWAPPED[node.id]}, f"{node.id} -> {_SWAPPED[node.id]}"
        case _:
            pass


def _of_constant(node: ast.Constant) -> Iterator[tuple[dict[str, Any], str]]:
    match node.value:
        case bool():
            other: Any = not node.value
        case int() | float():
            other = node.value + 1
        case str():
            other = f"XX{node.value}"
        case _:
            return
    yield {"value": other}, f"{node.value!r} -> {other!r}"[:100]


def _sign(operator: ast.AST) -> str:
    return type(operator).__name__


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 70 else text[:67] + "..."
