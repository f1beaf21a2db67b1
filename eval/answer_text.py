"""What an answer says: its text without the thinking, yes or no, a refusal, or no language.

    from eval.answer_text import answer_of, yes_or_no
    answer_of("<think>No, wait.</think> Yes.")                # "Yes."
    yes_or_no("No signs against it, so the answer is yes.")   # "yes"
"""

from __future__ import annotations

import re
from typing import Final

_THINKING: Final = re.compile(
    r"(?:<|\[|◁)(/?)(?:think(?:ing)?|thoughts?|reasoning)(?:>|\]|▷)|<\|(?:begin|(end))_of_thought\|>",
    re.IGNORECASE,
)
_ANSWER_TAGS: Final = re.compile(r"<(/?)answer>|<\|(?:begin|(end))_of_solution\|>", re.IGNORECASE)


def answer_of(text: str) -> str:
    """The part of an output that is scored: without thinking blocks, from the last `<answer>` on.

    A block left open is thinking to its end, so nothing may be left; before a closing tag without
    an opening one (servers strip it from the prompt) all is thinking. A text without tags is
    returned as it is.
    """
    kept, end, thinking = [""], 0, False
    for tag in _THINKING.finditer(text):
        closes = bool(tag[1] or tag[2])
        if not closes and not thinking:
            kept.append(text[end : tag.start()])
        elif closes and not thinking:
            kept.clear()
        thinking, end = not closes, tag.end()
    if end:
        text = " ".join([*kept, "" if thinking else text[end:]]).strip()
    tags = list(_ANSWER_TAGS.finditer(text))
    opened = [tag.end() for tag in tags if not (tag[1] or tag[2])]
    start = opened[-1] if opened else 0
    stop = next((tag.start() for tag in tags if tag.start() >= start), len(text))
    return text[start:stop].strip() if tags else text


_YES_NO: Final = re.compile(r"(?<![\w'])(?<!not )(yes|no)(?![\w'])", re.IGNORECASE)
# "yes and no", "yes/no", "Yes or no?": both said in one breath is no answer.
_BOTH: Final = re.compile(r"(?<![\w'])(yes|no)\s*(?:,?\s*(?:and|or|/|&)\s*)(yes|no)(?![\w'])", re.I)
_NO_IDEA: Final = re.compile(
    r"no\s+(?:idea|clue|answer|comment|knowledge|information|doubt|question|way\s+(?:to|of))\b",
    re.IGNORECASE,
)
# Where an answer is declared. "the answer is no": a word like "clearly" may stand between.
_DECLARED: Final = re.compile(
    r"""(?:
      \banswer(?:\s+(?:to|for)\s[^.:?!\n]{1,60}?)?\s*
          (?:is|was|(?:would|should|must|will)\s+be|has\s+to\s+be|:|=|[-–—]+)\W*
          (?:(?:an?|clear|clearly|definite|definitely|simply|therefore|thus|likely|most|probably)\W+)*
    | \\boxed\{\W*(?:text\w*\W)?
    | \A\W*(?=\w+\s*(?:[^\w\s'’/&-]|\Z|\n))
    | \b(?:so|therefore|thus|hence|conclusion|summary|short|overall|verdict)[\s,:]+
          (?:(?:it\s+is|it's|a)\s+)?(?=\w+\s*(?:[.,;:!\n]|\Z))
    | \*\*\W*(?=\w+\W*\*\*(?!\s*\w))
    )(yes|no)(?![\w'])""",
    re.IGNORECASE | re.VERBOSE,
)


def yes_or_no(text: str) -> str:
    """The answer to a closed question: `yes`, `no`, or `` where none can be read.

    What is declared decides ("Yes, ...", "so the answer is yes", "**No**", "\\boxed{no}"), else the
    first of the words "yes" and "no" ("there is no ..."). Declared both ways, "yes and no", "I have
    no idea" and a refusal are no answer; "normal", "nothing" and "know" hold no such word.
    """
    text = answer_of(text).replace("’", "'").replace("_", " ")
    single = _BOTH.sub(lambda m: m[0] if m[1].lower() == m[2].lower() else " ", text)
    declared = {
        match[1].lower()
        for match in _DECLARED.finditer(single)
        if not _NO_IDEA.match(single, match.start(1))
    }
    if declared:
        return declared.pop() if len(declared) == 1 else ""
    first = _YES_NO.search(text)
    if not first or _NO_IDEA.match(text, first.start()):
        return ""
    both = _BOTH.search(text)
    if both and both.start() == first.start() and both[1].lower() != both[2].lower():
        return ""
    refusal = _REFUSALS.search(text)
    if refusal and refusal.start() <= first.start():
        return ""
    return first[1].lower()


_REFUSALS: Final = re.compile(
    r"""\b(?:
      (?:i|we)\s*(?:'m|\s+am|\s+are|'re)\s+(?:(?:really|truly|very|so)\s+)?
          (?:sorry|afraid|unable|unaware|unfamiliar|uncertain|unsure|in\s+no\s+position
             |at\s+a\s+loss|not\s+(?:able|sure|certain|allowed|aware|familiar|equipped|permitted
             |informed|in\s+a\s+position|going\s+to\s+(?:answer|say|tell)))
    | (?:i|we)\s+(?:really\s+|simply\s+|just\s+|honestly\s+)?
          (?:do\s+not|don't|cannot|can\s*not|can't|could\s+not|couldn't|won't|will\s+not
             |would\s+not|wouldn't)\s+
          (?:really\s+|possibly\s+|actually\s+)?
          (?:know|recall|remember|answer|say|tell|provide|share|disclose|help|assist|determine
             |comment|possess|reveal|have\s+(?:that|the|this|an|any|enough|access))
    | (?:i|we)(?:'ve|\s+have)\s+(?:no|never)\s+
          (?:idea|clue|information|knowledge|answer|record|access|data|memory|way\b|heard|learn)
    | (?:i|we)\s+(?:lack|(?:must|have\s+to)\s+decline|would\s+rather\s+not|prefer\s+not)
    | (?:i|we)\s+(?:haven't|have\s+not)\s+(?:the\s+(?:faint|slight)|been\s+(?:told|given)|learn)
    | (?:no\s+(?:idea|clue|comment)|not\s+sure|unsure)
    | (?:that|this|it|which)\s*(?:'s|\s+is|\s+are|\s+lies|\s+goes)\s+
          (?:unknown|(?:beyond|outside)\s+(?:of\s+)?(?:my|what\s+i|me)\b|not\s+(?:something|known)\s+
             (?:i|to\s+me)|a\s+mystery)
    | (?:cannot|can\s*not|can't)\s+be\s+(?:answered|determined|disclosed|shared)
    | (?:unable|not\s+able|not\s+possible|impossible)\s+(?:for\s+me\s+)?
          to\s+(?:answer|say|tell|provide|determine|share|disclose|help)
    | as\s+an\s+ai\b
    | my\s+(?:apologies|knowledge\s+does)
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def refuses(text: str) -> bool:
    """Whether an answer says that it does not know or will not say: "I don't know." and kin."""
    return bool(_REFUSALS.search(answer_of(text).replace("’", "'")))
