r"""Model text as Markdown that Streamlit shows as it was meant.

Models write mathematics as `\(…\)` and `\[…\]`, Streamlit reads `$…$` and `$$…$$`; money is no
mathematics; and a picture address in an answer would make the browser fetch it, so it becomes a link.
"""

import re

# What is found first counts, as in Markdown itself. No branch looks past the next beginning of its own
# kind or gives back what it took (`++`), so that the time is linear in the text, whatever is in it.
_SPECIAL = re.compile(
    r"""
    # A block of code, also within a list or a quote. One still open reaches to the end: text streams.
    ^[ \t>]*+ (?: (?:[-*+]|\d{1,9}[.)]) [ \t]++ )? (?P<fence> `{3,}+(?=[^`\n]*+$) | ~{3,}+ )
        .*? (?: ^[ \t>]*+ (?P=fence) [`~]*+ [ \t]*+ $ | \Z )
    # Code within a paragraph.
    | (?<!`) (?P<tick> `++ ) (?: [^`\n] | \n(?![ \t]*+\n) | (?!(?P=tick)(?!`)) `++ )++ (?P=tick) (?!`)
    # Mathematics. A backslash before a backslash is the end of a row: \\[2pt] opens nothing.
    | \\\[ (?P<display> (?: (?!\\[\[\]]) (?: \\. | [^\\] ) )++ ) \\\]
    | \\\( (?P<inline>  (?: (?!\\[()])   (?: \\. | [^\\] ) )++ ) \\\)
    | (?P<written> \$\$ (?: (?!\$\$) . )++ \$\$ )
    # Between single signs as Pandoc decides it: no space inside them, no digit after the closing one,
    # and here no Latin letter before: US$.
    | (?P<between> (?<![A-Za-z0-9$]) \$ (?![\s$]) [^$`\n]*+ (?<![\s\\]) \$ (?![\d$]) )
    # A picture written in full; any other beginning of one; an escaped sign; a sign that is money.
    | !\[ (?P<alt> [^][\n]*+ ) \]\( [ \t]*+ <?+ (?P<target> [^()<>\s]*+ ) >?+ (?: [ \t]++ [^()\n]*+ )? \)
    | (?P<picture> ! (?=[![]) )
    | (?P<escape> \\. )
    | (?P<money> \$ )
    """,
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)


def readable(text: str) -> str:
    """`text` with its mathematics, money and pictures made safe; code is left as it is."""
    return _SPECIAL.sub(_rewrite, text.replace("\r\n", "\n"))


def _rewrite(found: re.Match[str]) -> str:
    if (formula := found["display"]) is not None:
        line = found.string[found.string.rfind("\n", 0, found.start()) + 1 : found.start()]
        indent = "\n" + " " * (len(line) - len(line.lstrip(" ")))  # stays in its list
        return f"{indent}$${indent}{formula.strip()}{indent}$${indent}"
    if (formula := found["inline"]) is not None:
        return f"${formula.strip()}$"
    if (target := found["target"]) is not None:
        return f"[{found['alt'] or target}]({target})"
    if found["picture"] or found["money"]:
        return "\\" + found[0]
    return found[0]


def literal(text: str) -> str:
    """A name as it is: nothing in it is Markdown."""
    return re.sub(r"([\\`*_~\[\]<>#|:$])", r"\\\1", text)
