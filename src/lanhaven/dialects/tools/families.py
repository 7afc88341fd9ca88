"""Calls as models write them in their text, family by family; what an engine left there because it could not read it,
or did not know the family. Pure.

| family | looks like |
| --- | --- |
| Hermes, Qwen 2.5 and 3 | `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, several |
| Qwen 3 Coder | `<tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></tool_call>` |
| Llama 3 | `<|python_tag|>{"name": ..., "parameters": {...}}`, or without the mark; `<function=NAME>{...}</function>` |
| Llama 3.2, 4 | `[NAME(key="value")]` |
| Mistral | `[TOOL_CALLS][{"name": ..., "arguments": {...}}]`, `[TOOL_CALLS]NAME[ARGS]{...}` |
| DeepSeek | `<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME ...` |
| Functionary, xLAM, Phi 4 | `>>>NAME` and `{...}`; `[{"name": ..., "arguments": {...}}]`; `functools[...]` |
| any | ```json with one of these in it |

Families with a mark of their own may be followed by words. Those without one are calls only if nothing else is said.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from lanhaven.dialects.tools.repair import MoreSaid, Unreadable, read_arguments, read_value
from lanhaven.wire import encode


class Call(NamedTuple):
    """A call that was read."""

    name: str
    arguments: str  # a JSON object


class Found(NamedTuple):
    """The calls of a text, and the words around them."""

    calls: list[Call]
    after: str = ""


_BAR = r"[|｜]"
_LINE = r"[_▁]"
_SEP = re.compile(f"<{_BAR}tool{_LINE}sep{_BAR}>")
_DEEPSEEK_CALL = re.compile(
    f"<{_BAR}tool{_LINE}call{_LINE}begin{_BAR}>(.*?)(?:<{_BAR}tool{_LINE}call{_LINE}end{_BAR}>|$)", re.DOTALL
)
_DEEPSEEK_REST = re.compile(f"<{_BAR}tool{_LINE}calls?{_LINE}(?:begin|end){_BAR}>")
_HERMES = re.compile(r"<\|?(?:tool_call|function_call)\|?>(.*?)(?:</?\|?(?:tool_call|function_call)\|?>|$)", re.DOTALL)
_FUNCTION = re.compile(r"<function=([^>\s]+)>(.*?)(?:</function>|(?=<function=)|$)", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\s]+)>(.*?)(?:</parameter>|(?=<parameter=)|$)", re.DOTALL)
_MISTRAL = re.compile(r"\s*(?:\[TOOL_CALLS\])?\s*([\w.-]+)\s*(?:\[CALL_ID\]\w*\s*)?(?:\[ARGS\])?\s*(?=\{)")
_RECIPIENT = re.compile(r">>>\s*([\w.-]+)\s*\n?(.*?)(?=>>>|$)", re.DOTALL)
_FENCE = re.compile(r"```\w*\s*")
_ENDS = ("<|eom_id|>", "<|eot_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "</s>", "<｜end▁of▁sentence｜>")
_CLOSERS = re.compile(r"[\s}\]]*")
_NAMES = ("name", "function", "tool", "tool_name")
_ARGUMENTS = ("arguments", "parameters", "args", "input", "tool_input")


def read_marked(mark: str, text: str) -> Found:
    """The calls of a text that begins with one of MARKS. Unreadable if there are none."""
    return MARKS[mark](_trimmed(text))


def _trimmed(text: str) -> str:
    """Without the marks of an end that some servers leave in the text."""
    while True:
        text = text.strip()
        end = next((each for each in _ENDS if text.endswith(each)), None)
        if end is None:
            return text
        text = text.removesuffix(end)


def read_bare(text: str) -> list[Call]:
    """The calls that a whole text is: JSON, Python's way of calling, or one of them between fences."""
    text = _unfenced(_trimmed(text))
    if re.match(r"\[\s*[A-Za-z_]", text):
        return list(_python(text))
    value, end = read_value(text)
    if not _CLOSERS.fullmatch(text, end):
        raise MoreSaid("words follow it")
    return list(_calls_in(value))


def _unfenced(text: str) -> str:
    """What stands between ```json and ```, where anything does."""
    head = _FENCE.match(text)
    if head is None:
        return text
    inner, _, after = text[head.end() :].partition("```")
    if after.strip():
        raise MoreSaid("words follow it")
    return inner.strip()


def _calls_in(value: Any) -> Iterator[Call]:
    """Of an object, a list of such, or an object that holds such a list."""
    match value:
        case {"tool_calls": list(listed)} | list(listed):
            for each in listed:
                yield from _calls_in(each)
        case dict():
            yield _call(value)
        case _:
            raise Unreadable("no call is in it")


def _call(value: dict[str, Any]) -> Call:
    inner = value.get("function")
    if isinstance(inner, dict):
        return _call(inner)
    name = next((value[each] for each in _NAMES if isinstance(value.get(each), str)), None)
    if name is None:
        raise Unreadable("it names no tool")
    return _made(name, next((value[each] for each in _ARGUMENTS if each in value), None))


def _made(name: str, arguments: Any) -> Call:
    return Call(name.strip().removeprefix("functions."), encode(read_arguments(arguments)).decode())


def _hermes(text: str) -> Found:
    calls: list[Call] = []
    end = 0
    for each in _HERMES.finditer(text):
        if text[end : each.start()].strip():
            break
        end = each.end()
        if each[1].strip():
            calls += _segment(each[1])
    return _found(calls, text[end:])


def _segment(text: str) -> list[Call]:
    if "<function=" in text:
        return _function(text.strip()).calls
    return read_bare(text)


def _function(text: str) -> Found:
    calls, end = [], 0
    for each in _FUNCTION.finditer(text):
        if text[end : each.start()].strip():
            break
        end = each.end()
        given = {key: _plain(value) for key, value in _PARAMETER.findall(each[2])}
        calls.append(_made(each[1], given or each[2].strip()))
    return _found(calls, text[end:])


def _plain(text: str) -> Any:
    """A value between tags: JSON where it is some, else the text itself, without the line breaks around it."""
    text = text.removeprefix("\n").removesuffix("\n")
    try:
        value, end = read_value(text)
    except Unreadable:
        return text
    return text if text[end:].strip() else value


def _python_tag(text: str) -> Found:
    text = text.removeprefix("<|python_tag|>").strip()
    if not text.startswith(("{", "[")):
        return _found(list(_python(f"[{text}]")), "")
    calls: list[Call] = []
    at = 0
    while at < len(text) and text[at] in "{[":
        value, at = read_value(text, at)
        calls += _calls_in(value)
        at += len(text[at:]) - len(text[at:].lstrip("; \n\t,"))
    return _found(calls, text[at:])


def _mistral(text: str) -> Found:
    text = text.removeprefix("[TOOL_CALLS]")
    if text.lstrip().startswith(("[", "{")):
        value, end = read_value(text)
        return _found(list(_calls_in(value)), text[end:])
    calls, at = [], 0
    while (head := _MISTRAL.match(text, at)) is not None:
        arguments, at = read_value(text, head.end())
        calls.append(_made(head[1], arguments))
    return _found(calls, text[at:])


def _deepseek(text: str) -> Found:
    calls, end = [], 0
    for each in _DEEPSEEK_CALL.finditer(text):
        end = each.end()
        parts = _SEP.split(each[1], maxsplit=1)
        if parts[0].strip() == "function":
            parts = list(parts[-1].partition("\n")[::2])
        if len(parts) != 2:
            raise Unreadable("it has no arguments")
        calls.append(_made(parts[0], _unfenced(parts[1].strip())))
    return _found(calls, _DEEPSEEK_REST.sub("", text[end:]))


def _recipients(text: str) -> Found:
    return _found((_made(name, said.strip()) for name, said in _RECIPIENT.findall(text)), "")


def _functools(text: str) -> Found:
    value, end = read_value(text, len("functools"))
    return _found(list(_calls_in(value)), text[end:])


def _found(calls: Iterable[Call], after: str) -> Found:
    listed = list(calls)
    if not listed:
        raise Unreadable("no call is in it")
    return Found(listed, "" if _CLOSERS.fullmatch(after) else after.strip())


def _python(text: str) -> Iterator[Call]:
    """`[name(key="value"), ...]`: values that Python could read without running anything."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        for each in tree.elts if isinstance(tree, ast.List) else ():
            if not isinstance(each, ast.Call) or each.args:
                raise Unreadable("it is no list of calls")
            given = {word.arg: ast.literal_eval(word.value) for word in each.keywords if word.arg is not None}
            yield _made(ast.unparse(each.func).removesuffix(".call"), given)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise Unreadable("it is no list of calls") from None


# What only a call begins with -> how it is read.
MARKS: Mapping[str, Callable[[str], Found]] = MappingProxyType(
    {
        "<tool_call>": _hermes,
        "<|tool_call|>": _hermes,
        "<function_call>": _hermes,
        "<function=": _function,
        "<|python_tag|>": _python_tag,
        "[TOOL_CALLS]": _mistral,
        "<｜tool▁calls▁begin｜>": _deepseek,
        "<｜tool▁call▁begin｜>": _deepseek,
        "<|tool_calls_begin|>": _deepseek,
        "<|tool_call_begin|>": _deepseek,
        ">>>": _recipients,
        "functools[": _functools,
    }
)
