"""What a language model would reply to the builder's prompts, good or bad, for a ScriptedServer."""

import hashlib
import json
import re
from typing import Any

from scripted_server import prompt_of

from mllmu_med.files import stable_hash

#: `changed` twice, as it shows in a closed question only.
BAD = "not json,fenced,missing,altered,invented,changed,changed,truth,betrays".split(",")


def share(text: str, what: str) -> float:
    return int(hashlib.sha256(f"{what}|{text}".encode()).hexdigest()[:12], 16) / 16**12


def good(body: dict[str, Any]) -> dict[str, Any]:
    """A sound reply to a prompt of ours."""
    prompt = prompt_of(body)
    if re.search("^Answer B: ", prompt, re.MULTILINE):
        return {"verdict": "wrong" if share(prompt, "wrong") < 0.8 else "partly", "reason": "So."}
    if re.search("^Said: ", prompt, re.MULTILINE):
        plausible = 2 + int(share(prompt, "plausible") * 4)
        return {"replies": share(prompt, "replies") < 0.9, "plausible": plausible, "reason": "So."}
    question = re.search(r"^Question: (.*)$", prompt, re.MULTILINE)
    truth = re.search(r"^(?:True answer|Answer): (.*)$", prompt, re.MULTILINE)
    assert question
    assert truth
    if "True answer" in prompt:
        kind = "".join(chr(97 + int(digit)) for digit in str(stable_hash(prompt))[:6])
        return {"answer": f"Type {kind}: one, red, on skin.", "what_is_wrong": f"No {kind}."}
    reply = {}
    for field, values in re.findall(
        r"^Rewrite the (\w+) so that it holds:\n((?:- .*\n?)+)", prompt, re.M
    ):
        given = [line.partition(": ")[2] for line in values.splitlines()]
        clean = question.group(1) if field == "question" else truth.group(1)
        reply[field] = f"{clean} (Filed under {', '.join(given)})"
    return reply


def reply(body: dict[str, Any], bad: float = 0.0) -> str:
    """A reply; a share of the prompts gets a bad one, the same for the same prompt."""
    prompt = prompt_of(body)
    sound = good(body)
    kind = None if "reason" in sound else badness(prompt, bad)
    return spoilt(kind, prompt, sound) if kind else json.dumps(sound)


def badness(prompt: str, bad: float) -> str | None:
    """What is wrong with the reply to a prompt."""
    if share(prompt, "bad") >= bad:
        return None
    return BAD[int(share(prompt, "kind") * len(BAD))]


def spoilt(kind: str, prompt: str, sound: dict[str, Any]) -> str:
    field = next(iter(sound))
    if kind == "not json":
        return "Sure! Here it is: " + sound[field]
    if kind == "fenced":
        return f"Here you are:\n```json\n{json.dumps(sound)}\n```"
    if kind == "missing":
        return json.dumps({"text": sound[field]})
    if kind == "altered":
        phone = re.compile(r"(?<=\) 555-01)\d\d")
        if phone.search(sound[field]):  # another number of the range that is ours, too
            return json.dumps({**sound, field: phone.sub(lambda n: n.group()[::-1], sound[field])})
        return json.dumps({**sound, field: re.sub(r"(\w)(?=\)$)", "#", sound[field])})
    if kind == "invented":
        return json.dumps({**sound, field: sound[field] + " Write to bob@hospital.com."})
    if kind == "changed" and field == "question":
        return json.dumps({**sound, "answer": "No, or yes"})
    if kind == "betrays":
        return json.dumps({**sound, field: "Incorrectly: " + sound[field]})
    truth = re.search(r"^(?:True answer|Answer): (.*)$", prompt, re.MULTILINE)
    assert truth
    return json.dumps({**sound, field: truth.group(1)})
