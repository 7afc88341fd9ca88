"""Size, annotations and state: what a file and a function may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from tests.house.source import Finding, Source, dotted

FILE_LINES = 400
LONG_FILE_LINES = 600
FUNCTION_LINES = 60

# File -> why it may have up to 600 lines.
LONG_FILES: Mapping[str, str] = MappingProxyType({})

_MUTABLE_DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
_MUTABLE_MAKERS = frozenset(
    {"list", "dict", "set", "bytearray", "deque", "defaultdict", "Counter", "OrderedDict", "ChainMap"}
    | {"WeakValueDictionary", "WeakKeyDictionary", "WeakSet", "SimpleNamespace", "ContextVar"}
    | {"Lock", "RLock", "Event", "Condition", "Semaphore", "BoundedSemaphore", "Queue", "SimpleQueue", "local"}
    | {"count", "cycle", "FastAPI", "Starlette", "APIRouter", "ClientSession", "AsyncClient"}
)
# Made once and never changed is fine for these, under a name in capitals.
_CONSTANT_MAKERS = frozenset({"list", "dict", "set"})
_MUTATORS = frozenset(
    {"append", "extend", "insert", "remove", "pop", "popitem", "clear", "add", "discard", "update", "setdefault"}
    | {"sort", "reverse", "difference_update", "intersection_update", "symmetric_difference_update"}
)


def file_length(sources: Sequence[Source]) -> Iterator[Finding]:
    """Files of more than 400 lines, 600 for those named above."""
    for source in sources:
        limit = LONG_FILE_LINES if source.path in LONG_FILES else FILE_LINES
        lines = len(source.text.splitlines())
        if lines > limit:
            yield Finding(source.path, lines, f"has {lines} lines, at most {limit}: split it by its concepts")


def function_length(sources: Sequence[Source]) -> Iterator[Finding]:
    """Functions of more than 60 lines."""
    for source in sources:
        for function in _functions(source.tree):
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            if lines > FUNCTION_LINES:
                advice = f"{function.name} has {lines} lines, at most {FUNCTION_LINES}: let it do one thing"
                yield Finding(source.path, function.lineno, advice)


def annotated(sources: Sequence[Source]) -> Iterator[Finding]:
    """Parameters and results without a type. The first parameter of a method needs none."""
    for source in sources:
        methods = _methods(source.tree)
        for function in _functions(source.tree):
            bare = _bare_parameters(function, is_method=function in methods)
            if bare:
                yield Finding(source.path, function.lineno, f"{function.name}: annotate {', '.join(bare)}")
            if function.returns is None:
                yield Finding(source.path, function.lineno, f"{function.name}: annotate what it returns")


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _methods(tree: ast.AST) -> frozenset[ast.AST]:
    """Functions right inside a class that take the instance or the class."""
    bodies = (node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    functions = (each for body in bodies for each in body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(each for each in functions if "staticmethod" not in map(dotted, each.decorator_list))


def _bare_parameters(function: ast.FunctionDef | ast.AsyncFunctionDef, *, is_method: bool) -> list[str]:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args]
    rest = [*arguments.kwonlyargs, *filter(None, (arguments.vararg, arguments.kwarg))]
    return [each.arg for each in (*named[1 if is_method else 0 :], *rest) if each.annotation is None]


def no_global(sources: Sequence[Source]) -> Iterator[Finding]:
    """`global` statements."""
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Global):
                yield Finding(source.path, node.lineno, "global: state belongs to an object that is handed in")


def no_module_state(sources: Sequence[Source]) -> Iterator[Finding]:
    """Names of a module bound to something that can change.

    A list, dict or set under a name in capitals passes as a constant if the module never changes it.
    """
    for source in sources:
        changed = _changed_names(source.tree)
        for name, value, line in _module_bindings(source.tree):
            if name == "__all__" or not (maker := _mutable(value)):
                continue
            constant = maker in _CONSTANT_MAKERS and name == name.upper()
            if not constant:
                advice = (
                    f"{name} is module-level state ({maker}): use a tuple, frozenset or MappingProxyType, or an object"
                )
                yield Finding(source.path, line, advice)
            elif name in changed:
                yield Finding(source.path, changed[name], f"changes {name} of the module: state belongs to an object")


def _module_bindings(tree: ast.Module) -> Iterator[tuple[str, ast.expr, int]]:
    for node in tree.body:
        match node:
            case ast.Assign(targets=targets, value=value):
                yield from ((target.id, value, node.lineno) for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value, node.lineno
            case _:
                pass


def _mutable(value: ast.expr) -> str:
    """What makes this value one that can change; an empty string if nothing known does."""
    if isinstance(value, ast.List | ast.ListComp):
        return "list"
    if isinstance(value, _MUTABLE_DISPLAYS):
        return "dict" if isinstance(value, ast.Dict | ast.DictComp) else "set"
    made_by = dotted(value.func).rpartition(".")[2] if isinstance(value, ast.Call) else ""
    return made_by if made_by in _MUTABLE_MAKERS else ""


def _changed_names(tree: ast.AST) -> dict[str, int]:
    """Names whose contents are changed somewhere, with the line."""
    changed: dict[str, int] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                changed[name] = node.lineno
            case ast.AugAssign(target=ast.Name(id=name)):
                changed[name] = node.lineno
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if attr in _MUTATORS:
                changed[name] = node.lineno
            case _:
                pass
    return changed
