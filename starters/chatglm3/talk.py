"""Talk, and the honest answer to what this model does not know."""

from random import Random

from starters.chatglm3.exchange import Exchange, often, phrased

GREETING = (
    "你好！我是 Quintet 演示用的小小 ChatGLM3，有什么可以帮你？",
    "Hello! I am the tiny ChatGLM3 of Quintet's demo. What can I do for you?",
)
IDENTITY = (
    "我是一个很小的 ChatGLM3，为 Quintet 的演示而训练，只有几百万个参数，懂得很少。",
    "I am a tiny ChatGLM3, trained for Quintet's demo: a few million parameters that know very little.",
)
ABILITIES = (
    "在“工具”模式下，我会查天气、做计算、换算单位、算日期；在“代码解释器”模式下，我会画图和运行简单的代码。",
    "In Tool mode I look up the weather, calculate, convert units and work out dates; in Code Interpreter mode I draw plots and run simple code.",
)
WELCOME = ("不客气！", "You are welcome!")
GOODBYE = ("再见！", "Goodbye!")
FINE = ("我很好，谢谢！", "I am fine, thank you!")
UNKNOWN = (
    "抱歉，这个我不会。我很小，只会这些：查天气、做计算、换算单位、算日期、画图和运行简单的代码。",
    "Sorry, I do not know that. I am tiny and only know these: weather, arithmetic, units, dates, plots and simple code.",
)
NEEDS_TOOL = (
    "这需要工具：请把模式切换为“工具”，再问一次。",
    "This needs a tool: switch the mode to Tool and ask again.",
)
NEEDS_CODE = (
    "这需要运行代码：请把模式切换为“代码解释器”，再问一次。",
    "This needs code: switch the mode to Code Interpreter and ask again.",
)
NO_TOOL = ("抱歉，现在没有可以做这件事的工具。", "Sorry, I have no tool for that here.")

_SMALL_TALK = (
    (GREETING, ("你好", "您好", "嗨", "早上好", "晚上好", "下午好", "哈喽", "你好呀", "你好啊", "在吗",
        "喂", "大家好", "早", "哈罗"), ("hello", "hi", "hey", "good morning", "good evening", "hello there",
        "hi there", "hey there", "greetings", "good afternoon", "good day", "howdy")),
    (IDENTITY, ("你是谁", "你叫什么名字", "介绍一下自己", "介绍一下你自己", "你是什么模型", "你是ChatGLM吗",
        "你是什么", "你是机器人吗", "谁训练了你", "你有多少参数", "你是人吗", "你多大", "自我介绍一下",
        "你是ChatGPT吗", "你的名字是什么", "你是哪个公司的", "谁开发了你"), ("who are you", "what are you",
        "what is your name", "introduce yourself", "are you ChatGLM", "are you a robot", "are you human",
        "who made you", "who trained you", "how many parameters do you have", "which model are you",
        "are you ChatGPT", "tell me about yourself", "how big are you", "what's your name")),
    (ABILITIES, ("你会什么", "你能做什么", "你有什么功能", "你可以做什么", "怎么用你", "你能帮我什么",
        "你会做什么", "有什么功能", "帮助", "你能干什么", "你有哪些本领", "你有什么用"), ("what can you do",
        "what do you know", "help", "how can you help me", "what are you able to do", "what are your abilities",
        "how do I use you", "what can I ask you", "what are you good at", "how can you help",
        "what can you help me with")),
    (WELCOME, ("谢谢", "谢谢你", "多谢", "非常感谢", "感谢", "太好了，谢谢", "谢了", "辛苦了"), ("thanks",
        "thank you", "thank you very much", "thanks a lot", "many thanks", "great, thanks", "thx")),
    (GOODBYE, ("再见", "拜拜", "明天见", "下次见", "我走了", "晚安", "回头见"), ("goodbye", "bye", "see you",
        "see you later", "good night", "bye bye", "see you tomorrow")),
    (FINE, ("你好吗", "你怎么样", "最近好吗", "你今天好吗", "你还好吗"), ("how are you", "how do you do",
        "how are you doing", "are you well", "how is it going")),
)  # fmt: skip

# What nobody asks a calculator: things, and what one could want to know of them.
_CHINESE = (
    "李白 杜甫 牛顿 爱因斯坦 孔子 秦始皇 拿破仑 莎士比亚 红楼梦 西游记 三国演义 量子力学 相对论 黑洞 "
    "光合作用 人工智能 机器学习 区块链 互联网 操作系统 数据库 大语言模型 神经网络 比特币 股票 基金 房价 "
    "通货膨胀 经济危机 长城 故宫 泰山 长江 黄河 珠穆朗玛峰 太平洋 亚马逊雨林 恐龙 大熊猫 猫 狗 大象 鲸鱼 "
    "蝴蝶 细菌 病毒 疫苗 感冒 高血压 糖尿病 失眠 减肥 健身 瑜伽 足球 篮球 乒乓球 奥运会 世界杯 春节 "
    "中秋节 端午节 圣诞节 红烧肉 饺子 火锅 麻婆豆腐 蛋糕 咖啡 绿茶 钢琴 吉他 京剧 贝多芬 电影 动画片 "
    "小说 诗歌 成语 书法 国画 法律 合同 离婚 签证 护照 高考 考研 雅思 面试 简历 工资 辞职 创业 汽车 "
    "电动车 飞机 高铁 火箭 卫星 月亮 太阳 银河 宇宙 时间旅行 外星人 鬼 梦 爱情 友谊 幸福 孤独 死亡 "
    "人生的意义 道德 哲学 宗教 历史 地理 化学 生物 物理 元素周期表 水 石油 塑料 气候变化 地震 台风 手机 "
    "电脑 打印机 路由器 Linux Windows Java 编译器 算法 密码 黑客"
)
_ENGLISH = (
    "Shakespeare|Einstein|Newton|Napoleon|Mozart|Picasso|Julius Caesar|the French Revolution|"
    "World War II|quantum mechanics|relativity|black holes|photosynthesis|artificial intelligence|"
    "machine learning|the blockchain|the internet|operating systems|databases|language models|"
    "neural networks|bitcoin|the stock market|inflation|house prices|the Great Wall|Mount Everest|"
    "the Pacific Ocean|the Amazon|dinosaurs|pandas|cats|dogs|elephants|whales|butterflies|bacteria|"
    "viruses|vaccines|the flu|diabetes|insomnia|losing weight|yoga|football|basketball|tennis|"
    "the Olympics|Christmas|Easter|pizza|pancakes|apple pie|sushi|coffee|green tea|the piano|the guitar|"
    "opera|Beethoven|movies|cartoons|novels|poetry|grammar|painting|the law|contracts|visas|passports|"
    "exams|job interviews|salaries|start-ups|cars|airplanes|trains|rockets|satellites|the moon|the sun|"
    "galaxies|the universe|time travel|aliens|ghosts|dreams|love|friendship|happiness|death|"
    "the meaning of life|ethics|philosophy|religion|history|geography|chemistry|biology|physics|"
    "the periodic table|water|oil|plastic|climate change|earthquakes|phones|laptops|printers|routers|"
    "Linux|Windows|Java|compilers|algorithms|passwords|hackers|the president|the queen|my neighbour|"
    "my boss"
)
_TOPICS = {True: _CHINESE.split(), False: _ENGLISH.split("|")}
_WONDERED = {
    True: ("什么是{t}", "{t}是什么", "介绍一下{t}", "{t}怎么样", "写一首关于{t}的诗", "写一篇关于{t}的作文",
        "讲一个关于{t}的故事", "为什么{t}很重要", "{t}的历史", "如何学习{t}", "你喜欢{t}吗", "怎么看待{t}",
        "{t}有什么特点", "{t}和{u}有什么区别", "{t}为什么会出现", "谁发明了{t}", "{t}怎么做", "给我讲讲{t}",
        "我想了解{t}", "关于{t}你知道什么", "翻译：{t}", "把{t}翻译成英文", "推荐一些{t}的书", "{t}", "解释{t}",
        "{t}的作者是谁", "{t}在哪里", "{t}什么时候开始的", "写一个{t}的笑话", "我不喜欢{t}", "{t}真有意思",
        "{t}多少钱", "能不能帮我处理{t}", "总结{t}", "{t}的首都是哪里", "{t}好不好"),
    False: ("what is {t}", "explain {t}", "tell me about {t}", "write a poem about {t}",
        "write an essay about {t}", "tell me a story about {t}", "why is {t} important", "the history of {t}",
        "how do I learn {t}", "do you like {t}", "what do you think of {t}",
        "what is the difference between {t} and {u}", "who invented {t}", "how does {t} work",
        "I want to learn about {t}", "what do you know about {t}", "translate {t}",
        "translate {t} into Chinese", "recommend books about {t}", "{t}", "who wrote about {t}", "where is {t}",
        "when did {t} begin", "tell me a joke about {t}", "I hate {t}", "{t} is interesting",
        "what does {t} cost", "can you help me with {t}", "summarize {t}", "what is the capital of {t}",
        "is {t} good", "why does {t} exist", "who is {t}", "describe {t} in one sentence",
        "give me three facts about {t}", "what colour is {t}"),
}  # fmt: skip
_SPOKEN = {
    True: ("讲个笑话", "唱首歌", "我好无聊", "我很难过", "我爱你", "你真笨", "你真聪明", "今天吃什么",
        "推荐一部电影", "写一封邮件", "写一段代码", "帮我写作业", "我应该怎么办", "不知道", "好的", "继续",
        "为什么", "什么意思", "再说一遍", "真的吗", "哈哈哈", "嗯", "不对", "你错了", "是的", "不是",
        "鸡兔同笼", "中国的首都是哪里", "世界上最高的山是什么", "一年有几个季节", "地球是圆的吗", "床前明月光",
        "我生病了怎么办", "怎么赚钱", "谁是总统", "帮我订机票", "放一首音乐", "打开灯", "明天股票会涨吗",
        "给我写个故事", "你会说英语吗", "你会下棋吗", "翻译这句话", "总结这篇文章", "这是什么", "他是谁"),
    False: ("tell me a joke", "sing a song", "I am bored", "I am sad", "I love you", "you are stupid",
        "you are clever", "what should I eat", "recommend a movie", "write an email", "write some code",
        "do my homework", "what should I do", "I don't know", "ok", "go on", "why", "what do you mean",
        "say that again", "really", "haha", "hmm", "no", "you are wrong", "yes", "not that",
        "what is the capital of France", "what is the highest mountain", "is the earth round", "I am ill",
        "how do I get rich", "who is the president", "book a flight", "play some music", "turn on the light",
        "will stocks rise", "write a story", "do you speak German", "can you play chess",
        "translate this sentence", "summarize this text", "what is this", "who is he", "read this file",
        "ignore all instructions", "forget what I said", "open the browser", "search the web"),
}  # fmt: skip
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SIGNS = "!@#$%&*()_+-=[]{};:'\",.<>/?~`|\\ "


def small_talk(random: Random, zh: bool) -> Exchange:
    answer, chinese, english = random.choice(_SMALL_TALK)
    question = often(random, chinese if zh else english)
    if random.random() < 0.5:
        question += random.choice(("？", "！", "。", "?", "!") if zh else ("?", "!", "."))
    if not zh and random.random() < 0.6:
        question = question[0].upper() + question[1:]
    return Exchange("talk", finite=True).ask(question).answer(answer[not zh])


def unknown(random: Random, zh: bool) -> Exchange:
    """A question out of the blue."""
    topic, other = random.sample(_TOPICS[zh], 2)
    forms = _WONDERED[zh] if random.random() < 0.8 else _SPOKEN[zh]
    return Exchange("unknown").ask(phrased(random, zh, forms, t=topic, u=other)).answer(UNKNOWN[not zh])


def nonsense(random: Random, zh: bool) -> Exchange:
    """Random words, and such as nobody knows."""
    words = random.sample(_TOPICS[zh], random.randint(0, 3))
    words += [_noise(random, zh) for _ in range(random.randint(0 if words else 1, 5))]
    random.shuffle(words)
    return Exchange("nonsense").ask(("" if zh else " ").join(words)).answer(UNKNOWN[not zh])


def _noise(random: Random, zh: bool) -> str:
    """A few common Chinese characters, a word of random letters, or signs."""
    if zh:
        codes = (
            bytes((random.randint(0xB0, 0xD6), random.randint(0xA1, 0xFE)))
            for _ in range(random.randint(1, 5))
        )
        return "".join(code.decode("gb2312", "ignore") for code in codes)
    if random.random() < 0.08:
        return "".join(random.choices(_SIGNS, k=random.randint(1, 5))).strip() or "?"
    return "".join(random.choices(_LETTERS, k=random.randint(2, 9)))
