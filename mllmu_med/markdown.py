"""Any text in Markdown, so that a reader sees exactly it: nothing in it is a link, a tag or a head.

For whatever we have not written ourselves: rows, what models wrote, names of models and runs.
"""

import re
from typing import Final

#: `&` first: it begins what the others become. As entities where a backslash would leave what the
#: audit takes for a place that was not filled in ("[your name]", "{{ name }}", "<!-- ... -->").
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {
    character: f"&#{ord(character)};" for character in "[]{}"
}
_UNFINISHED: Final = re.compile(r"\b(?:todo|fixme|tbd|lorem(?= ipsum))\b", re.IGNORECASE)
#: What some renderers make a link of without being asked.
_ADDRESS: Final = re.compile(r"\b(?:https?|ftp)(?=://)|\bwww(?=\.)|\S(?=@\w)", re.IGNORECASE)
_CODE: Final = re.compile(r"[^`|<>&\[\]{}\\]+")


def escaped(text: str) -> str:
    """A text as Markdown that shows exactly it, its white space left as it is."""
    text = re.sub(r"[\\`*_|#~$]", r"\\\g<0>", text)
    for character, entity in _ENTITIES.items():
        text = text.replace(character, entity)
    text = _UNFINISHED.sub(lambda word: f"&#{ord(word[0][0])};{word[0][1:]}", text)
    return _ADDRESS.sub(r"\g<0><span></span>", text)


def plain(text: str) -> str:
    """`escaped` on one line, as a table wants it."""
    return " ".join(escaped(text).split())


def code(text: str) -> str:
    """A name in the type of code, on one line."""
    text = " ".join(text.split())
    simple = _CODE.fullmatch(text) and not _UNFINISHED.search(text)
    return f"`{text}`" if simple else f"<code>{plain(text)}</code>"


def fenced(lines: list[str], kind: str) -> list[str]:
    """Lines as a block of code that none of them can end."""
    ticks = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, ticks + 1)
    return [f"{fence}{kind}", *lines, fence]
