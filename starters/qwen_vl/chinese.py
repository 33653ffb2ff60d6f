"""How the captioner speaks Chinese: the names of `english.py`, whose words for colours and kinds it takes."""

from collections.abc import Sequence

NUMBERS = "零一两三四五六七八九十"
COLOURS = {
    "red": "红色", "orange": "橙色", "yellow": "黄色", "green": "绿色", "blue": "蓝色", "purple": "紫色",
    "pink": "粉色", "brown": "棕色", "black": "黑色", "grey": "灰色", "white": "白色",
    "light blue": "浅蓝色", "light green": "浅绿色", "light yellow": "浅黄色", "dark blue": "深蓝色",
}  # fmt: skip
KINDS = {
    "": "物体", "circle": "圆形", "square": "正方形", "triangle": "三角形", "star": "五角星", "diamond": "菱形",
    "heart": "心形", "cross": "十字", "ring": "圆环", "hexagon": "六边形", "house": "房子", "tree": "树",
    "car": "汽车", "flower": "花", "fish": "鱼", "bar": "柱子", "slice": "扇形",
}  # fmt: skip
SIZES = {"small": "小", "medium": "中等大小的", "large": "大"}
MEASURES = {"house": "座", "tree": "棵", "car": "辆", "flower": "朵", "fish": "条"}
PLACES = ("左上角", "上方", "右上角", "左边", "中间", "右边", "左下角", "下方", "右下角")
SIDES = {"left": "左边", "right": "右边", "above": "上面", "below": "下面"}
COLON, GAP, ORDER = "：", "", "一二"


def number(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else f"十{'一二'[count - 11]}"


def colour(name: str) -> str:
    return COLOURS[name]


def named(tint: str = "", kind: str = "", count: int = 1) -> str:
    return f"{COLOURS[tint]}{KINDS[kind]}" if tint else KINDS[kind]


def the(tint: str = "", kind: str = "", count: int = 1) -> str:
    return named(tint, kind)


def some(count: int, tint: str = "", kind: str = "", size: str = "") -> str:
    """ "一个小红色五角星", "没有圆形"."""
    words = SIZES.get(size, "") + named(tint, kind)
    return f"{number(count)}{MEASURES.get(kind, '个')}{words}" if count else f"没有{words}"


def there(count: int, tint: str = "", kind: str = "") -> str:
    return f"{'有' if count else ''}{some(count, tint, kind)}"


def bearing(thing: str, text: str) -> str:
    return f"{thing}（上面写着“{text}”）"


def quoted(texts: Sequence[str]) -> str:
    return "".join(f"“{text}”" for text in texts)


def the_text(texts: Sequence[str], colour: str = "") -> str:
    return f"{COLOURS[colour] if colour else ''}文字{quoted(texts)}"


def listing(parts: Sequence[str]) -> str:
    return "和".join(["、".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def sentence(text: str) -> str:
    return f"{text}。"


def sentences(texts: Sequence[str]) -> str:
    return "".join(map(sentence, texts))


def on_background(things: str, tint: str) -> str:
    return f"{COLOURS[tint]}背景上有{things}"


def stands(thing: str, place: int) -> str:
    return f"{thing}在{PLACES[place]}"


def beside(thing: str, side: str, other: str) -> str:
    return f"{thing}在{other}的{SIDES[side]}"


def beside_asked(thing: str, side: str, other: str) -> str:
    return beside(thing, side, other)


def lattice(layout: str, shape: tuple[int, int], things: str) -> str:
    if layout == "grid":
        return f"排成{number(shape[0])}行{number(shape[1])}列的{things}"
    return f"排成一{'行' if layout == 'row' else '列'}的{things}"


def line(row: int, things: str) -> str:
    return f"第{'一二三四五六'[row - 1]}行：{things}"


def sign(board: str, words: str) -> str:
    return f"一块{COLOURS[board]}牌子，上面是{words}"


def bars(values: Sequence[tuple[str, str]]) -> str:
    named = "，".join(f"{label} 为 {value}" for label, value in values)
    return f"一张柱状图，有{number(len(values))}根柱子：{named}"


def the_bar(label: str) -> str:
    return f"柱子 {label}"


def bar(label: str, value: str) -> str:
    return f"柱子 {label}，数值为 {value}"


def pie(colours: Sequence[str]) -> str:
    return f"一张饼图，有{number(len(colours))}个扇形：{listing([COLOURS[name] for name in colours])}"


def largest_slice(colour: str) -> str:
    return f"最大的扇形是{COLOURS[colour]}的"


def in_picture(question: str, number_of_picture: int) -> str:
    return f"第{'一二'[number_of_picture - 1]}张图中，{question}"


def picture(number_of_picture: int) -> str:
    return f"第{'一二'[number_of_picture - 1]}张图"


QUESTIONS: dict[str, tuple[str, ...]] = {
    "caption": (
        "用一句话描述这张图片。", "描述这张图片。", "图片里有什么？", "图中有什么？", "这是什么？", "你看到了什么？",
        "给这张图片写一个标题。",
    ),
    "detail": ("详细描述这张图片。", "请详细描述这张图片。", "仔细描述图片的内容。", "图里都有些什么？请详细说。"),
    "ground": ("框出图中所有的物体。", "标出所有物体。", "检测图中的所有物体。", "找出图中的每一样东西。"),
    "read": ("读出图中的文字。", "图中写了什么？", "图片里的文字是什么？", "识别图中的文字。", "上面写着什么？"),
    "find": ("框出图中{x}的位置。", "找到{x}。", "找出{x}。", "标出{x}。", "框出{x}。", "请框出图中的{x}。"),
    "count": ("图中有几个{x}？", "有多少个{x}？", "数一数{x}。", "一共有几个{x}？"),
    "colour": ("{x}是什么颜色？", "{x}是什么颜色的？", "{x}的颜色是什么？"),
    "where": ("{x}在哪里？", "{x}在图中的什么位置？", "{x}在哪儿？"),
    "relation": ("{x}吗？", "请问{x}吗？"),
    "present": ("图中有{x}吗？", "有{x}吗？", "你看到{x}了吗？"),
    "biggest": ("哪个物体最大？", "最大的物体是什么？", "最大的是什么？"),
    "background": ("背景是什么颜色？", "背景是什么颜色的？", "背景的颜色是什么？"),
    "region": ("这个区域里有什么？{x}", "{x}这里是什么？", "{x}里有什么？", "描述这个区域：{x}"),
    "compare": ("比较这两张图片。", "这两张图片有什么不同？", "两张图有什么区别？", "对比这两张图。"),
    "more": ("哪张图里的{x}更多？", "第一张和第二张，哪张图的{x}多？"),
    "value": ("{x}的数值是多少？", "{x}是多少？", "{x}的值是多少？"),
    "highest": ("哪根柱子最高？", "最大的数值是多少？", "最大值是哪个？"),
    "lowest": ("哪根柱子最低？", "最小的数值是多少？", "最小值是哪个？"),
    "slice": ("哪个扇形最大？", "饼图里最大的部分是什么颜色？"),
    "hello": ("你好", "你好！", "你是谁？", "你能做什么？", "你会什么？", "帮助"),
    "nothing": (
        "今天天气怎么样？", "总统是谁？", "写一首诗。", "翻译成英文。", "12乘以7等于多少？", "讲个笑话。",
        "这是谁画的？", "这个人多大了？", "中国的首都是哪里？", "写一段代码。", "现在几点了？", "他开心吗？",
        "这是哪座城市？", "这是什么牌子？", "怎么做米饭？", "天空为什么是蓝色的？", "接下来会发生什么？",
        "这张照片是谁拍的？",
    ),
}  # fmt: skip

ANSWERS = {
    "no text": "图中没有文字。",
    "text": "文字是{x}。",
    "colour": "{x}是{y}的。",
    "yes": "是的，{x}。",
    "no": "不，{x}。",
    "biggest": "最大的是{x}。",
    "background": "背景是{x}的。",
    "only background": "这里只有背景。",
    "more": "第{n}张图的{x}更多：{y}个和{z}个。",
    "same": "两张图的{x}一样多，都是{y}个。",
    "value": "柱子 {x} 的数值是 {y}。",
    "highest": "柱子 {x} 最高，数值为 {y}",
    "lowest": "柱子 {x} 最低，数值为 {y}",
    "hello": "我是一个很小的 Qwen-VL，只认识画出来的场景：图形、印刷文字和简单图表。请给我一张图片，问我里面有什么。",
    "nothing": "这个我不知道。我只认识画出来的场景：图形、印刷文字和简单图表。",
    "unknown": "我只认识画出来的场景：图形、印刷文字和简单图表。这张图片是别的内容。",
    "no picture": "我还没有看到图片。请给我一张画出来的场景，再问我里面有什么。",
}
