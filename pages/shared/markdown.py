r"""Model text as Markdown that Streamlit shows as it was meant.

Models write mathematics as `\(…\)` and `\[…\]`, Streamlit reads `$…$` and `$$…$$`; money is no
mathematics; and a picture address in an answer would make the browser fetch it, so it becomes a link.
Streamlit also has a Markdown of its own: `:x:` becomes an emoji, `:red[…]` a colour, `->` an arrow and
a single `~` strikes out. None of it is what a person or a model wrote, so all of that is shown by its letters.
"""

import re
import string

# A directive without a text: it shows nothing, and what stands before and after it is no longer one piece,
# in which Streamlit would find an emoji or an arrow. (Both are looked for in texts whose escapes are gone.)
_SPLIT = ":red[]"
_EMOJI = re.compile(r":(?=[\w+-]++:)")

# What is found first counts, as in Markdown itself. No branch looks past the next beginning of its own
# kind or gives back what it took (`++`), so that the time is linear in the text, whatever is in it.
_SPECIAL = re.compile(
    r"""
    # A block of code, also within a list or a quote. One still open reaches to the end: text streams.
    ^[ \t>]*+ (?: (?:[-*+]|\d{1,9}[.)]) [ \t]++ )? (?P<fence> `{3,}+(?=[^`\n]*+$) | ~{3,}+ )
        .*? (?: ^[ \t>]*+ (?P=fence) [`~]*+ [ \t]*+ $ | \Z )
    # Spaces before a text; those before a list, a quote or a table mean something.
    | ^ (?P<indent> [ \t]++ ) (?! [-*+][ \t] | \d{1,9}[.)][ \t] | [>|\s] | \Z )
    # Two dashes that stand alone; the line below a table's heading or under a title.
    | (?: \A | (?<=\n\n) ) (?P<dashes> -- ) (?= [ \t]*+ $ )
    | ^(?P<line> [ \t>]*+ \|?+ (?: [ \t]*+ :?+ -++ :?+ [ \t]*+ \|?+ )++ ) $
    # Code within a paragraph.
    | (?<!`) (?P<tick> `++ ) (?: [^`\n] | \n(?![ \t]*+\n) | (?!(?P=tick)(?!`)) `++ )++ (?P=tick) (?!`)
    # Mathematics. A backslash before a backslash is the end of a row: \\[2pt] opens nothing.
    | \\\[ (?P<display> (?: (?!\\[\[\]]) (?: \\. | [^\\] ) )++ ) \\\]
    | \\\( (?P<inline>  (?: (?!\\[()])   (?: \\. | [^\\] ) )++ ) \\\)
    # An environment of its own, as many models write it.
    | (?P<environment> \\begin\{ (?P<env> (?: equation | align (?:ed|at)? | gather (?:ed)? | [dr]?cases | split | array
            | [pbvBV]?matrix ) \*? ) \} (?: (?! \\(?:begin|end)\{(?P=env)\} ) . )*+ \\end\{(?P=env)\} )
    | (?P<written> \$\$ (?: (?!\$\$) . )++ \$\$ )
    # Between single signs as Pandoc decides it: no space inside them, no digit after the closing one,
    # and here no Latin letter before: US$.
    | (?P<between> (?<![A-Za-z0-9$]) \$ (?![\s$]) [^$`\n]*+ (?<![\s\\]) \$ (?![\d$]) )
    # A picture written in full; any other beginning of one; an escaped sign; a sign that is money.
    | !\[ (?P<alt> [^][\n]*+ ) \]\( [ \t]*+ <?+ (?P<target> [^()<>\s]*+ ) >?+ (?: [ \t]++ [^()\n]*+ )? \)
    | (?P<picture> ! (?=[![]) )
    | (?P<escape> \\. )
    | (?P<money> \$ )
    # Addresses, bare, in brackets, or where a link leads, stay whole.
    | <?+ (?P<address> (?: https?:// | ftp:// | mailto: ) [^\s<>`]*+ ) >?+
    | (?P<leads> \]\( [^()\n]*+ \) )
    # What Streamlit alone would act on.
    | (?P<emoji> : (?= [\w+-]++ : | material/ ) )
    | (?P<directive> : (?= [A-Za-z] ) )
    | (?<![\w<>~=-]) (?P<sign> <-> | -> | <- | -- | [<>~]= ) (?![\w<>~=-])
    | (?<!~) (?P<tilde> ~ ) (?!~)
    # HTML and entities are shown, not obeyed; a line break is one, and so is one that Markdown writes.
    | (?P<break> <br [ \t]*+ /?+ > )
    | (?<![ ]) (?P<hard> [ ]{2,}+ (?=\n) )
    | (?P<tag> < (?=[A-Za-z/!?]) )
    | (?P<entity> & (?= \#?+ \w++ ; ) )
    # Letters of programs, and notes, which vanish where nothing refers to them.
    | (?<=\d) (?P<times> \* ) (?=\d)
    | (?<!\w) (?P<dunder> __ ) (?= [A-Za-z]\w*+ (?<=__) )
    | (?P<note> \[ (?=\^) )
    """,
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)


# Lines stay lines; in what `typed` gives, spaces stay too. Labels of widgets are not meant: they must not wrap.
STYLE = """<style>
[data-testid="stMarkdown"] :is(p, td, th) { white-space: pre-line; }
[class*="st-key-typed-"] [data-testid="stMarkdown"] :is(p, td, th) { white-space: pre-wrap; }
</style>"""


def readable(text: str) -> str:
    """What a model wrote, with mathematics, money, pictures and Streamlit's own Markdown made safe; code is
    left as it is."""
    return _SPECIAL.sub(_rewrite, text.replace("\r\n", "\n"))


def typed(text: str) -> str:
    """What a person wrote: as `readable`, and backslashes, indentation and <br> stay as well. Needs `STYLE`, and
    a container whose key begins with "typed-"."""
    return _SPECIAL.sub(_rewrite_typed, text.replace("\r\n", "\n"))


def _rewrite_typed(found: re.Match[str]) -> str:
    if found["escape"] and found[0][1] in string.punctuation:
        return f"\\\\\\{found[0][1]}"
    if found["indent"]:
        # At the beginning of a line Markdown trims even these; behind something they stay.
        return _SPLIT + "".join(f"&#{ord(space)};" for space in found[0])
    if found["break"]:
        return "\\" + found[0]
    return _rewrite(found)


def _rewrite(found: re.Match[str]) -> str:
    kind = found.lastgroup
    match kind:
        case "display" | "environment":
            indent = "\n" + " " * _indentation(found)  # stays in its list
            return f"{indent}$${indent}{found[kind].strip()}{indent}$${indent}"
        case "inline":
            return f"${found['inline'].strip()}$"
        case "target":
            return f"[{found['alt'] or found['target']}]({found['target']})"
        case "picture" | "money" | "tilde" | "tag" | "times" | "directive" | "note":
            return "\\" + found[0]
        case "dunder":
            return "\\_\\_"
        case "entity":
            return "&amp;"
        case "emoji":
            return f"\\:{_SPLIT}"
        case "sign" | "dashes":
            return "\\" + _SPLIT.join(found[0])
        case "address" if _EMOJI.search(found["address"]):
            return _link(found["address"])
        case "break":
            return "" if found.string[found.end() : found.end() + 1] == "\n" else "&#10;"
        case "hard":
            return ""  # `STYLE` makes a line of every line
    return found[0]


def _indentation(found: re.Match[str]) -> int:
    line = found.string[_line_start(found) : found.start()]
    return len(line) - len(line.lstrip(" "))


def _line_start(found: re.Match[str]) -> int:
    return found.string.rfind("\n", 0, found.start()) + 1


def _link(address: str) -> str:
    """An address whose text would hold an emoji; what ends a sentence is no part of it."""
    whole = address.rstrip(".,;:!?'\"")
    text = _EMOJI.sub(lambda _: f"\\:{_SPLIT}", re.sub(r"([_*~])", r"\\\1", whole))
    return f"[{text}](<{whole}>){address[len(whole) :]}"


_LITERAL = re.compile(
    r"""
    \A (?P<list> [-+] (?=[ ]) | \d{1,9} (?=[.)]) )
    | (?P<emoji> : (?= [\w+-]++ : | material/ ) )
    | (?P<sign> [<>~=-]{2,}+ )
    | (?P<entity> & (?= \#?+ \w++ ; ) )
    | [\\`*_~\[\]<>#|:$]
    """,
    re.VERBOSE,
)


def literal(text: str) -> str:
    """A name as it is: nothing in it is Markdown."""
    return _LITERAL.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    match found.lastgroup:
        case "list":
            return f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}"
        case "emoji":
            return f"\\:{_SPLIT}"
        case "sign":
            return "\\" + f"{_SPLIT}\\".join(found[0])
        case "entity":
            return "&amp;"
    return "\\" + found[0]
