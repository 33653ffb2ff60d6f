"""Questions for the calculator."""

from random import Random

from models.chat.calls import parse_arguments
from models.errors import BadInput
from starters.chatglm3.exchange import Exchange, number, phrased

_FORMS = {
    True: ("{e}等于多少", "{e}是多少", "计算{e}", "算一下{e}", "{e}=?", "{e}等于几", "{e}的结果是多少", "求{e}",
        "{e} = ？", "{e}"),
    False: ("what is {e}", "calculate {e}", "how much is {e}", "compute {e}", "what's {e}", "{e} = ?", "{e}=?",
        "{e}", "work out {e}"),
}  # fmt: skip
# What people write, in Chinese and in English, and the expression that it means.
_WRITTEN = {
    "{a} + {b}": (("{a}加{b}", "{a}加上{b}", "{a}与{b}的和", "{a}和{b}的和", "{a} 加 {b}"), ("{a} plus {b}",
        "the sum of {a} and {b}", "{a} added to {b}")),
    "{a} - {b}": (("{a}减{b}", "{a}减去{b}", "{a}与{b}的差", "{a} 减 {b}"), ("{a} minus {b}",
        "the difference of {a} and {b}")),
    "{a} * {b}": (("{a}乘{b}", "{a}乘以{b}", "{a}与{b}的积", "{a}×{b}", "{a} × {b}", "{a}x{b}"),
        ("{a} times {b}", "{a} multiplied by {b}", "{a} x {b}", "the product of {a} and {b}", "{a} × {b}")),
    "{a} / {b}": (("{a}除以{b}", "{a}÷{b}", "{a} ÷ {b}", "{a} 除以 {b}"), ("{a} divided by {b}", "{a} over {b}",
        "{a} ÷ {b}")),
    "{a} % {c}": (("{a}除以{c}的余数", "{a}除以{c}余几"), ("the remainder of {a} divided by {c}", "{a} mod {c}",
        "{a} modulo {c}")),
    "{c} ** {d}": (("{c}的{d}次方", "{c}^{d}", "{c}**{d}", "{c}的{d}次幂"), ("{c} to the power of {d}",
        "{c}^{d}", "{c} ** {d}", "{c} to the power {d}")),
    "{a} ** 2": (("{a}的平方", "{a}²"), ("{a} squared", "the square of {a}")),
    "{c} ** 3": (("{c}的立方",), ("{c} cubed", "the cube of {c}")),
    "sqrt({a})": (("根号{a}", "{a}的平方根", "√{a}", "sqrt({a})", "{a}开平方"), ("the square root of {a}",
        "sqrt({a})", "square root of {a}", "√{a}", "sqrt {a}")),
    "{a} * {c} / 100": (("{a}的{c}%", "{a}的百分之{c}"), ("{c}% of {a}", "{c} percent of {a}")),
    "factorial({d})": (("{d}的阶乘", "{d}!"), ("{d} factorial", "the factorial of {d}")),
    "{f}({c})": (("{f}({c})", "{f} {c}"), ("{f}({c})", "{f} of {c}")),
}  # fmt: skip
_COMMON = ("{a} + {b}", "{a} - {b}", "{a} * {b}", "{a} / {b}")
_STORIES = {
    "{a} * {b}": (("一个苹果{a}元，买{b}个要多少钱", "每天走{a}公里，{b}天走多少公里",
        "一箱有{a}瓶水，{b}箱有多少瓶"), ("one apple costs {a} dollars, what do {b} apples cost",
        "I walk {a} km a day, how far in {b} days", "a box holds {a} books, how many do {b} boxes hold")),
    "{a} - {b}": (("我有{a}元，花了{b}元，还剩多少", "有{a}个苹果，吃了{b}个，还剩几个"),
        ("I have {a} dollars and spend {b}, how much is left",
        "I have {a} apples and eat {b}, how many are left")),
    "{a} / {b}": (("{a}个人平均分成{b}组，每组几个人", "{a}元平均分给{b}个人，每人多少钱"),
        ("{a} people in {b} groups, how many are in each", "split {a} dollars among {b} people")),
    "{a} + {b}": (("我有{a}元，又得到{b}元，一共多少", "小明有{a}本书，小红有{b}本书，一共几本"),
        ("I have {a} apples and get {b} more, how many do I have",
        "{a} girls and {b} boys, how many children")),
}  # fmt: skip
_THEN = {
    "{r} + {b}": (("再加{b}", "再加上{b}", "然后加{b}", "加上{b}呢"), ("then add {b}", "and plus {b}",
        "now add {b}", "add {b}")),
    "{r} - {b}": (("再减{b}", "再减去{b}", "然后减{b}", "减去{b}呢"), ("then subtract {b}", "and minus {b}",
        "now subtract {b}", "subtract {b}")),
    "{r} * {b}": (("再乘{b}", "再乘以{b}", "然后乘以{b}", "乘以{b}呢"), ("then multiply by {b}",
        "and times {b}", "now multiply it by {b}", "multiply that by {b}")),
    "{r} / {b}": (("再除以{b}", "然后除以{b}", "除以{b}呢"), ("then divide by {b}", "and divided by {b}",
        "now divide it by {b}", "divide that by {b}")),
}  # fmt: skip


def simple(random: Random, zh: bool) -> Exchange:
    """One operation, in words or in signs."""
    surface, expression = _operation(random, zh)
    return _answered(Exchange("arithmetic").ask(phrased(random, zh, _FORMS[zh], e=surface)), expression, zh)


def formula(random: Random, zh: bool) -> Exchange:
    """Several operations with brackets, in signs."""
    surface, expression = _formula(random)
    return _answered(Exchange("arithmetic").ask(phrased(random, zh, _FORMS[zh], e=surface)), expression, zh)


def story(random: Random, zh: bool) -> Exchange:
    expression, forms = random.choice(list(_STORIES.items()))
    values = {"a": number(random, 4, 0.2), "b": number(random, 2, 0)}
    question = phrased(random, zh, forms[not zh], **values)
    return _answered(Exchange("arithmetic").ask(question), expression.format(**values), zh)


def impossible(random: Random, zh: bool) -> Exchange:
    """A division by zero, or the root of a negative number."""
    a = number(random)
    zero = random.random() < 0.7
    surface = random.choice(_WRITTEN["{a} / {b}"][not zh]) if zero else "sqrt(-{a})"
    expression = f"{a} / 0" if zero else f"sqrt(-{a})"
    made = Exchange("errors").ask(phrased(random, zh, _FORMS[zh], e=surface.format(a=a, b=0)))
    made.call("calculate", expression=expression)
    why = (
        ("除数不能为零", "it divides by zero")
        if zero
        else ("负数没有实数平方根", "a negative number has no real root")
    )
    return made.answer(f"抱歉，算不出来：{why[0]}。" if zh else f"Sorry, that has no result: {why[1]}.")


def twice(random: Random, zh: bool) -> Exchange:
    """Two calculations, the second with the result of the first; in one question or in two."""
    surface, expression = _operation(random, zh, _COMMON)
    then, forms = random.choice(list(_THEN.items()))
    b = number(random, 3)
    after = random.choice(forms[not zh]).format(b=b)
    if random.random() < 0.5:
        first = phrased(random, zh, _FORMS[zh], e=surface)
        made = _answered(Exchange("two steps").ask(first), expression, zh)
        made.ask(phrased(random, zh, (after,)))
        result = made.messages[-3]["content"]
    else:
        forms_both = (
            ("计算{e}，{after}", "{e}，{after}等于多少", "先算{e}，{after}")
            if zh
            else ("{e}, {after}", "calculate {e}, {after}", "what is {e}, {after}")
        )
        made = Exchange("two steps").ask(
            phrased(random, zh, forms_both, e=surface, after=after.removesuffix("呢"))
        )
        result = made.call("calculate", expression=expression)
    return _answered(made, then.format(r=result, b=b), zh)


def corrected(random: Random, zh: bool) -> Exchange:
    """A call that could not be read is written again."""
    surface, expression = _operation(random, zh, _COMMON)
    made = Exchange("arithmetic").ask(phrased(random, zh, _FORMS[zh], e=surface))
    broken = random.choice(
        ('tool_call(expression="{e}"', "tool_call({e})", 'tool_call("{e}")', "tool_call(expression={e})",
         'calculate("{e}")', "tool_call(expression='{e}", "{e}", 'tool_call(expression="{e}"))')
    ).format(e=expression)  # fmt: skip
    written = f"```python\n{broken}\n```"
    try:
        parse_arguments(written)
    except BadInput as error:
        made.fail("calculate", written, error.en)
    return _answered(made, expression, zh)


def _operation(random: Random, zh: bool, among: tuple[str, ...] = tuple(_WRITTEN)) -> tuple[str, str]:
    """What is written, and the expression that it means."""
    expression = random.choice(_COMMON if random.random() < 0.5 else among)
    values = {
        "a": number(random, 5),
        "b": number(random, random.choice((1, 3, 5))),
        "c": str(random.randint(1, 99)),
        "d": str(random.randint(2, 15)),
        "f": random.choice(("sin", "cos", "tan", "ln", "log10", "exp", "abs", "log2")),
    }
    surface = random.choice(_WRITTEN[expression][not zh])
    if expression in _COMMON and random.random() < 0.3:
        surface = expression if random.random() < 0.5 else expression.replace(" ", "")
    return surface.format(**values), expression.format(**values)


def _formula(random: Random) -> tuple[str, str]:
    parts = [number(random, 3, 0.15) for _ in range(random.randint(3, 4))]
    for at in range(len(parts) - 1, 0, -1):
        parts.insert(at, random.choice("+-*/"))
    if random.random() < 0.7:
        opened = random.choice(range(0, len(parts) - 2, 2))
        closed = random.choice(range(opened + 2, len(parts), 2))
        parts[opened], parts[closed] = f"({parts[opened]}", f"{parts[closed]})"
    surface = random.choice((" ", "")).join(parts)
    if random.random() < 0.3:
        surface = surface.replace("*", "×").replace("/", "÷")
    return surface, " ".join(parts)


def _answered(made: Exchange, expression: str, zh: bool) -> Exchange:
    result = made.call("calculate", expression=expression)
    if "divides by zero" in result:
        return made.answer(
            "抱歉，算不出来：除数不能为零。" if zh else "Sorry, that has no result: it divides by zero."
        )
    if "cannot be calculated" in result:
        return made.answer("抱歉，这个算式算不出来。" if zh else "Sorry, that cannot be calculated.")
    return made.answer(f"结果是 {result}。" if zh else f"The result is {result}.")
