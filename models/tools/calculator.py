"""A calculator that evaluates no Python: it walks the parsed expression, and bounds every number."""

import ast
import math
import operator
import unicodedata
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from models.errors import BadInput

_BITS = 10_000  # of the largest whole number, some 3,000 digits
_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


def _rounded(value: float, digits: int = 0) -> float:
    if abs(digits) > 100:  # Python would calculate that power of ten
        raise ValueError("too many digits")
    return round(value, digits or None)


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    name: getattr(math, name)
    for name in ("sqrt", "exp", "log10", "log2", "sin", "cos", "tan", "asin", "acos", "atan", "floor", "ceil",
                 "degrees", "radians", "gcd", "lcm")
} | {"ln": math.log, "log": math.log, "abs": abs, "round": _rounded, "min": min, "max": max}  # fmt: skip
_CONSTANTS = {"pi": math.pi, "π": math.pi, "e": math.e}
_SIGNS = str.maketrans({"×": "*", "÷": "/", "−": "-", "·": "*", "^": "**", "√": "sqrt"})


def calculate(expression: Annotated[str, "算式，例如 (3 + 5) * 2 ** 3 or sqrt(2)"]) -> str:
    """计算算式的值，支持四则运算、乘方和常用函数。The value of an arithmetic expression."""
    try:
        text = unicodedata.normalize("NFKC", expression.translate(_SIGNS)).strip(" =?")
        if len(text) > 500:
            raise ValueError("too long")
        return _written(_evaluate(ast.parse(text, mode="eval").body))
    except ZeroDivisionError as error:
        raise BadInput(f"{expression} divides by zero.", f"{expression} 中除数为零。") from error
    except (SyntaxError, ValueError, TypeError, ArithmeticError, MemoryError, RecursionError) as error:
        raise BadInput(
            f"{expression[:100]} cannot be calculated ({error}): write numbers, + - * / ** and functions such "
            "as sqrt.",
            f"无法计算 {expression[:100]}（{error}）：请使用数字、+ - * / ** 以及 sqrt 等函数。",
        ) from error


def _evaluate(node: ast.expr) -> int | float:
    """The value of a parsed expression: numbers, operators and the listed functions, nothing else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return _bounded(node.value)
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _bounded(_OPERATORS[type(node.op)](_evaluate(node.operand)))
    if isinstance(node, ast.BinOp):
        left, right = _evaluate(node.left), _evaluate(node.right)
        if isinstance(node.op, ast.Div):
            return _divided(left, right)
        if isinstance(node.op, ast.Pow):
            return _power(left, right)
        if type(node.op) in _OPERATORS:
            return _bounded(_OPERATORS[type(node.op)](left, right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _applied(node.func.id, [_evaluate(argument) for argument in node.args])
    raise ValueError("only arithmetic")


def _applied(name: str, arguments: list[int | float]) -> int | float:
    if name == "factorial" and len(arguments) == 1 and isinstance(arguments[0], int) and arguments[0] <= 1000:
        return math.factorial(arguments[0])
    if name not in _FUNCTIONS:
        raise ValueError(f"no function {name}")
    return _bounded(_FUNCTIONS[name](*arguments))


def _divided(left: int | float, right: int | float) -> int | float:
    whole = isinstance(left, int) and isinstance(right, int) and right != 0 and left % right == 0
    return left // right if whole else left / right


def _power(base: int | float, exponent: int | float) -> int | float:
    whole = isinstance(base, int) and isinstance(exponent, int)
    if whole and abs(base) > 1 and int(base).bit_length() * abs(exponent) > _BITS:
        raise OverflowError("too large")
    result: int | float | complex = base**exponent
    if isinstance(result, complex):
        raise ValueError("no real number")
    return _bounded(result)


def _bounded(value: int | float) -> int | float:
    if isinstance(value, int) and value.bit_length() > _BITS:
        raise OverflowError("too large")
    if isinstance(value, float) and not math.isfinite(value):
        raise OverflowError("too large")
    return value


def _written(value: int | float) -> str:
    """Without the last digits of a float, which only show how it is stored: 0.1 + 0.2 is 0.3."""
    if isinstance(value, int):
        return str(value)
    rounded = float(f"{value:.12g}")
    return str(int(rounded)) if rounded.is_integer() and abs(rounded) < 1e15 else str(rounded)
