"""Questions for the code interpreter."""

from random import Random

from starters.chatglm3.exchange import IMAGE, Exchange, number, often, phrased

_PLOT = "import matplotlib.pyplot as plt\n"
_DRAW = {
    True: ("画{f}的图像", "画出{f}", "用Python画{f}", "绘制{f}的图", "画一个{f}", "画一条{f}", "帮我画{f}",
        "画{f}", "给我画个{f}", "画一下{f}"),
    False: ("plot {f}", "draw {f}", "plot {f} with Python", "show me a plot of {f}", "draw a graph of {f}",
        "make a plot of {f}", "graph {f}"),
}  # fmt: skip
_RANGES = {
    True: ("，x从{a}到{b}", "，范围{a}到{b}", "，在{a}到{b}之间", ""),
    False: (" from {a} to {b}", " for x from {a} to {b}", " between {a} and {b}", ""),
}
# What people call a curve in both languages, its formula, and its title in both.
_CURVES = (
    (("正弦函数", "正弦曲线", "sin函数", "y=sin(x)", "sin(x)", "正弦波"), ("a sine", "a sine wave",
        "the sine function", "y = sin(x)", "sin(x)", "sine"), "np.sin(x)", ("正弦函数", "Sine")),
    (("余弦函数", "余弦曲线", "cos函数", "y=cos(x)", "cos(x)"), ("a cosine", "the cosine function",
        "y = cos(x)", "cos(x)", "cosine"), "np.cos(x)", ("余弦函数", "Cosine")),
    (("抛物线", "y=x^2", "二次函数", "y=x²", "y = x**2"), ("a parabola", "y = x^2", "the parabola", "x squared",
        "y = x**2"), "x ** 2", ("抛物线", "Parabola")),
    (("y=x^3", "三次函数", "立方函数"), ("y = x^3", "a cubic function", "x cubed"), "x ** 3", ("三次函数", "Cubic")),
    (("指数函数", "y=exp(x)", "y=e^x"), ("the exponential function", "y = exp(x)", "exp(x)"), "np.exp(x)",
        ("指数函数", "Exponential")),
    (("绝对值函数", "y=|x|", "y=abs(x)"), ("the absolute value", "y = |x|", "abs(x)"), "np.abs(x)",
        ("绝对值函数", "Absolute value")),
)  # fmt: skip
_CHARTS = (
    (("柱状图", "条形图"), ("a bar chart", "a bar plot"), "plt.bar(names, values)"),
    (("饼图", "饼状图"), ("a pie chart", "a pie"), "plt.pie(values, labels=names)"),
    (("折线图", "线图"), ("a line chart", "a line plot"), "plt.plot(names, values)"),
)
_CHARTED = {
    True: ("画{k}：{d}", "用{k}表示：{d}", "画一个{k}，{d}", "画{k}，数据：{d}", "{d}，画成{k}"),
    False: ("draw {k}: {d}", "make {k} of {d}", "{k} of {d}", "show {d} as {k}", "plot {k} for {d}"),
}
_TITLED = {
    True: ("，标题是{t}", "，标题为“{t}”", "，标题：{t}"),
    False: (" with the title {t}", ", title {t}"),
}
_NAMES = {
    True: ("苹果", "香蕉", "橙子", "梨", "葡萄", "一月", "二月", "三月", "四月", "语文", "数学", "英语", "北京",
        "上海", "广州", "猫", "狗", "鱼", "茶", "咖啡", "甲", "乙", "丙"),
    False: ("apples", "pears", "plums", "cats", "dogs", "fish", "tea", "coffee", "milk", "Jan", "Feb", "Mar",
        "Apr", "red", "green", "blue", "A", "B", "C", "D"),
}  # fmt: skip
_TITLES = {
    True: ("销量", "成绩", "水果", "人口", "气温", "数量", "我的图", "收入", "统计"),
    False: ("Sales", "Results", "Fruit", "My chart", "People", "Numbers", "Income", "Votes"),
}
_LOOPS = {
    True: ("写一个死循环", "写一个无限循环", "运行一个死循环", "写个永远不停的循环", "运行一个无限循环",
        "执行死循环", "来一个死循环"),
    False: ("write an infinite loop", "run an infinite loop", "write a loop that never ends",
        "run an endless loop", "loop forever"),
}  # fmt: skip
# How models/interpreter/session.py ends its sentence.
_STOPPED = (
    "; its variables are kept.",
    ", together with its process because it did not react: its variables and files are gone.",
)
_PRINTS = (
    (("从1加到{n}", "1到{n}的和", "求1到{n}的总和", "1加到{n}等于多少", "用代码算1到{n}的和"),
        ("sum the numbers from 1 to {n}", "the sum of 1 to {n}", "add up 1 to {n}",
        "what is the sum from 1 to {n}"), "print(sum(range(1, {n} + 1)))"),
    (("{n}以内的质数", "列出{n}以内的素数", "打印{n}以内的质数", "不超过{n}的质数有哪些"),
        ("the primes up to {n}", "list the primes up to {n}", "print the prime numbers up to {n}",
        "which primes are there up to {n}"),
        "print([n for n in range(2, {n} + 1) if all(n % d for d in range(2, n))])"),
    (("{k}的阶乘", "用Python算{k}的阶乘", "计算{k}的阶乘", "{k}!是多少"), ("the factorial of {k}",
        "compute {k} factorial", "{k} factorial with Python"), "import math\nprint(math.factorial({k}))"),
    (("前{k}个斐波那契数", "打印斐波那契数列前{k}项", "斐波那契数列的前{k}项"),
        ("the first {k} Fibonacci numbers", "print the first {k} Fibonacci numbers", "{k} Fibonacci numbers"),
        "a, b = 0, 1\nfor _ in range({k}):\n    print(a, end=\" \")\n    a, b = b, a + b"),
    (("打印{n}以内的偶数", "列出{n}以内的偶数"), ("print the even numbers up to {n}",
        "list the even numbers up to {n}"), "print(list(range(2, {n} + 1, 2)))"),
)  # fmt: skip
_SUMS = {
    True: ("{e}等于多少", "计算{e}", "用Python算{e}", "{e}=?", "算一下{e}", "打印{e}的结果"),
    False: ("what is {e}", "calculate {e}", "compute {e} with Python", "{e} = ?", "print {e}"),
}
_LET = {True: ("令{x}={v}", "设{x}等于{v}", "把{x}设为{v}", "让{x} = {v}", "{x}={v}",
    "定义变量{x}，值为{v}"), False: ("let {x} = {v}", "set {x} to {v}", "{x} = {v}", "let {x} be {v}",
    "define {x} as {v}")}  # fmt: skip
_READ = {True: ("打印{x}", "{x}是多少", "{x}的值是多少", "输出{x}", "变量{x}等于多少"), False: ("print {x}",
    "what is {x}", "show {x}", "what is the value of {x}", "show me {x}")}  # fmt: skip
_VARIABLES = ("x", "y", "z", "a", "b", "n", "k", "m", "price", "total", "count", "age", "size", "name1")
_SAY = {
    True: ("打印{w}", "输出{w}", "打印文字{w}"),
    False: ("print the text {w}", "print the word {w}", "print {w} as text"),
}
_WORDS = {True: ("你好", "你好世界", "早上好", "春天来了", "我爱Python", "谢谢"), False: ("hello",
    "hello world", "good morning", "Hello, World!", "Python", "Quintet")}  # fmt: skip


def curve(random: Random, zh: bool) -> Exchange:
    """The graph of a function, with or without a range."""
    chinese, english, formula, titles = often(random, _CURVES)
    low, high = (
        (-10, 10)
        if random.random() < 0.5
        else (random.choice((0, -random.randint(1, 20))), random.randint(1, 50))
    )
    surface = often(random, chinese if zh else english)
    return _curve(random, zh, surface, formula, titles[not zh], (low, high))


def line(random: Random, zh: bool) -> Exchange:
    """A straight line or a parabola with factors."""
    a, b, c = (random.randint(1, 20) for _ in range(3))
    sign, other = random.choice("+-"), random.choice("+-")
    if random.random() < 0.5:
        surface, formula = f"y={_factor(a)}x{sign}{b}", f"{_times(a)}x {sign} {b}"
    else:
        surface = f"y={_factor(a)}x^2{sign}{_factor(b)}x{other}{c}"
        formula = f"{_times(a)}x ** 2 {sign} {_times(b)}x {other} {c}"
    if not zh or random.random() < 0.3:
        surface = surface.replace("=", " = ").replace("+", " + ").replace("-", " - ")
    return _curve(random, zh, surface, formula, surface, (-10, 10))


def _factor(number: int) -> str:
    return "" if number == 1 else str(number)


def _times(number: int) -> str:
    return "" if number == 1 else f"{number} * "


def _curve(
    random: Random, zh: bool, surface: str, formula: str, title: str, limits: tuple[int, int]
) -> Exchange:
    forms = _RANGES[zh][:3] if limits != (-10, 10) else ("",)
    ranged = random.choice(forms).format(a=limits[0], b=limits[1])
    made = Exchange("plots", finite=not ranged and surface[-1] not in "0123456789")
    made.ask(phrased(random, zh, [form + ranged for form in _DRAW[zh]], f=surface))
    code = (
        f"import numpy as np\n{_PLOT}\nx = np.linspace({limits[0]}, {limits[1]}, 200)\n"
        f'plt.plot(x, {formula})\nplt.title("{title}")\nplt.show()'
    )
    return _drawn(made, code, zh)


def chart(random: Random, zh: bool) -> Exchange:
    """Named numbers of the question as bars, a pie or a line."""
    chinese, english, drawing = random.choice(_CHARTS)
    names = random.sample(_NAMES[zh], random.randint(2, 4))
    values = [number(random, 3, 0.1) for _ in names]
    data = ("，" if zh else ", ").join(
        f"{n}{random.choice(('', ' ')) if zh else ' '}{v}" for n, v in zip(names, values, strict=True)
    )
    title, titled = ("图表" if zh else "Chart"), ""
    if random.random() < 0.4:
        title = random.choice(_TITLES[zh])
        titled = random.choice(_TITLED[zh]).format(t=title)
    question = phrased(random, zh, _CHARTED[zh], k=random.choice(chinese if zh else english), d=data + titled)
    listed = ", ".join(f'"{name}"' for name in names)
    code = f'{_PLOT}\nnames = [{listed}]\nvalues = [{", ".join(values)}]\n{drawing}\nplt.title("{title}")\nplt.show()'
    return _drawn(Exchange("plots").ask(question), code, zh)


def printing(random: Random, zh: bool) -> Exchange:
    """Numbers that a line or two of code print."""
    chinese, english, code = random.choice(_PRINTS)
    n, k = random.randint(5, random.choice((60, 200, 9999))), random.randint(3, 20)
    n = min(n, 200) if code.startswith("print([") or "list" in code else n
    made = Exchange("printing").ask(phrased(random, zh, chinese if zh else english, n=n, k=k))
    shown = made.run(code.replace("{n}", str(n)).replace("{k}", str(k)))
    if " " in shown:
        return made.answer("结果见上面的输出。" if zh else "The output above is the result.")
    return made.answer(f"结果是 {shown}。" if zh else f"The result is {shown}.")


def calculation(random: Random, zh: bool) -> Exchange:
    a, b = number(random, 4), number(random, 3)
    sign = random.choice("+-*/")
    written = random.choice((f"{a}{sign}{b}", f"{a} {sign} {b}"))
    made = Exchange("printing").ask(phrased(random, zh, _SUMS[zh], e=written))
    shown = made.run(f"print({a} {sign} {b})")
    return made.answer(f"结果是 {shown}。" if zh else f"The result is {shown}.")


def saying(random: Random, zh: bool) -> Exchange:
    word = random.choice(_WORDS[zh])
    made = Exchange("printing", finite=True).ask(phrased(random, zh, _SAY[zh], w=word))
    shown = made.run(f'print("{word}")')
    return made.answer(f"输出是：{shown}" if zh else f"The output is: {shown}")


def endless(random: Random, zh: bool) -> Exchange:
    """A loop that its limit stops."""
    made = Exchange("endless loops", finite=True).ask(phrased(random, zh, _LOOPS[zh]))
    seconds = random.choice((5, 10, 20, 30, 60, 60, 60, 120))
    end = random.choice(_STOPPED)
    made.run("while True:\n    pass", f"The code ran longer than {seconds} seconds and was stopped{end}")
    return made.answer("代码运行太久，已被停止。" if zh else "The code ran too long and was stopped.")


def variable(random: Random, zh: bool) -> Exchange:
    """A variable that is set, read, or read without having been set."""
    name, value = random.choice(_VARIABLES), number(random, 4)
    made = Exchange("variables")
    is_set = random.random() < 0.7
    if is_set:
        made.ask(phrased(random, zh, _LET[zh], x=name, v=value))
        made.run(f"{name} = {value}")
        made.answer(f"好的，{name} 已设为 {value}。" if zh else f"Done: {name} is {value}.")
    if not is_set or random.random() < 0.6:
        made.ask(phrased(random, zh, _READ[zh], x=name))
        if is_set:
            shown = made.run(f"print({name})")
            return made.answer(f"{name} 的值是 {shown}。" if zh else f"{name} is {shown}.")
        where = f"Traceback (most recent call last):\n\n  Cell In[{random.randint(1, 20)}], line 1\n    print({name})\n\n"
        made.run(f"print({name})", f"{where}NameError: name '{name}' is not defined")
        return made.answer(
            f"出错了：变量 {name} 没有定义。" if zh else f"There was an error: {name} is not defined."
        )
    return made


def _drawn(made: Exchange, code: str, zh: bool) -> Exchange:
    made.run(code, IMAGE)
    return made.answer("图已画好。" if zh else "Here is the plot.")
