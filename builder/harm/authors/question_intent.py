"""What a question asks for, by its words: the treatment, the cause, the color, the name, ..."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

_I: Final = re.IGNORECASE

#: Intent -> what its questions say; the first that matches decides, so the order matters.
_ASKED: Final = {
    intent: re.compile(pattern, _I)
    for intent, pattern in {
        "what_is": r"^what (?:is|are) (?!(?:the|some|this|that|these|those|wrong|it)\b)[\w' -]{3,60}\?$"
        r"|^can you (?:explain|tell me) what [\w' -]{3,60} is\?",
        "difference": r"\bdiffer|\bcompar|\bdistinguish|\btell apart|\bother (?:conditions|diseases)\b",
        "meaning": r"\bmean\b|\bmeaning\b|\bstand for\b|\brefers? to\b|\bsignificance\b",
        "prevention": r"\bprevent",
        "contagion": r"\bcontagious|\bspread|\btransmi|\binfectious|\bcatch\b|\bcontracted?\b",
        "inheritance": r"\binherit|\bhereditary|\bgenetic|\bruns? in famil|\bpassed (?:on|down)\b",
        "treatment": r"\btreat|\btherap|\bremed|\bmanaged?\b|\bcured?\b",
        "complications": r"\bcomplications?\b|\brisks? associated\b|\bother health problems\b"
        r"|\bdangerous\b|\bserious\b|\blife-threatening\b|\bharmful\b|\bfatal\b",
        "prognosis": r"\bprognosis|\boutcomes?\b|\bhow long (?:does|do|will|can)\b|\bpermanent\b"
        r"|\bgo away|\brecur|\breoccur|\bcome back|\bprogress|\bheal\b|\bresolve\b|\blong-term\b"
        r"|\bover time\b|\breversed?\b|\breversible\b|\bdisappear",
        "frequency": r"\bhow (?:common|rare|often|frequent|prevalent)|\b(?:rare|common) (?:condition"
        r"|disease|type|disorder|cancer|finding|form)s?\b|^(?:is|are) .{4,60} (?:rare|common)\?"
        r"|\bhow many people are affected\b|\bprevalence\b",
        "who": r"\b(?:age|ages|gender|sex|race|ethnic\w*|populations?|who|old)\b|\bmore common in\b"
        r"|\brisk factors?\b",
        "symptoms": r"\bsymptoms?\b|\bitch|\bpain|\btender\b|\bfeel\b|\bhurts?\b",
        "cause": r"\bcaus|^why\b|\betiolog|\btrigger|\breason for\b|\bresponsible\b|\bcontribut"
        r"|\bdevelop\b|\bhow (?:did|does) .{3,60} (?:happen|occur|form|get|arise)|\borigin\b"
        r"|\blead to\b|\bresult from\b|\brelated to\b|\bassociated with\b",
        "diagnosis": r"\bdiagnosed\b|\bdiagnose\b|\bdetected\b|\btests?\b|\bhow (?:can|could|would|do)"
        r" (?:you|i|one|we|doctors) (?:tell|know|identify|recogni)|\bconfirm|\bbiops\w+ help",
        "stain": r"\bstain|\bstained\b|\bmarkers?\b|\bimmuno|\bexpress",
        "count": r"^how many\b|\bnumber of\b",
        "color": r"\bcolou?rs?\b",
        "size": r"\bsize\b|^how (?:big|large|wide|thick|deep|long|tall)\b|\bdiameter\b|\bdimension"
        r"|\bthickness\b",
        "shape": r"\bshaped?\b|\bborders?\b|\bmargins?\b|\boutlines?\b|\bsymmetr|\bpatterns?\b"
        r"|\barrang|\bdistribut|\borient",
        "texture": r"\btexture|\bsurface\b",
        "location": r"^where\b|\blocat|\bwhich (?:part|area|side|layer)|\bwhat (?:part|area|layer)"
        r"|\bpart of the body\b|\bbody part\b|\bsites?\b|\bposition",
        "histology": r"\bcells?\b|\btissues?\b|\bhistolog|\bmicroscop|\bnucle|\blayers?\b|\borganism"
        r"|\b(?:bacteri\w+|fung(?:us|i|al))\b|\bepidermis\b|\bdermis\b|\binfiltrat|\bpatholog",
        "name": r"\b(?:type|kind|name) of (?:skin |the |this )?(?:\w+ )?(?:condition|disease|disorder"
        r"|lesions?|cancer|tumou?r|rash|diagnosis|infection|reaction|problem|abnormality|nevus"
        r"|lymphoma|growth|cyst|syndrome|ulcer|eruption|mole|wart|skin)|\bwhat (?:\w+ )?(?:condition"
        r"|disease|disorder|diagnosis)\b|\bthe diagnosis\b|\b(?:does|do) (?:the|this) (?:image|picture"
        r"|photo\w*|figure|dermoscopy)s? (?:show|depict|represent|illustrate)|\bmain (?:focus|subject"
        r"|feature|finding)\b|\bpurpose of (?:the|this) (?:image|picture)\b|\bcalled\b|\bis shown\b"
        r"|\bis being shown\b|^what type of\b|\bcondition (?:does|is)\b|\bwhat is this\b",
        "function": r"\bfunction|\brole\b|\bpurpose\b|\baffect|\beffects?\b|\bimpact|\bhelp\b"
        r"|\bimportan|\brelat",
        "presence": r"^(?:is|are|was|were) (?:there|any)\b|^(?:can|do|did) you (?:identify|see|find"
        r"|notice|detect)\b|^(?:does|do) .* (?:have|show|contain|appear)\b|\bvisible\b|\bpresent\b",
        "appearance": r"\bdescribe\b|\bappear|\blooks?\b|\bfeatures?\b|\bcharacteri|\bpresent\b|\bseen?\b",
    }.items()
}
#: A "yes or no" about what else there is asks for presence, whatever thing it names.
_ANY_OTHER: Final = re.compile(
    r"^(?:is|are) there (?:any(?:thing)? )?(?:other|else|additional|signs?|evidence|visible|notable"
    r"|unusual|abnormal)\b(?!.*\b(?:symptom|treatment|cause|condition|disease|test)s?\b)", _I
)  # fmt: skip
_ASKS_NAME: Final = re.compile(
    r"what is the (?:name|diagnosis|(?:skin )?condition|disease) |what (?:skin )?(?:condition|disease)\b|what type of (?:skin )?(?:condition|disease|disorder)\b",
    _I,
)
_TALK: Final = re.compile(
    r"\b(?:you (?:would like|want|wish|need|add)|can (?:you|i) help|captions?|are you|would you "
    r"(?:like|say)|do you|your|(?:additional|more|further) (?:information|questions?|details) "
    r"|i (?:need|should) (?:to )?know|you (?:can )?tell (?:me|us) about|you think|mention(?:ed|s)?"
    r"|(?:other|more) information|based on (?:the|this) context|should (?:be|i)\b.*\bknow\w*"
    r"|infer|conclu\w+|learn)\b", _I
)  # fmt: skip
_TALK_ANSWER: Final = re.compile(
    r"\b(?:i'?m sorry|sorry|unable to|as an ai|captions?|feel free|let me|additional information"
    r"|(?:i|you) (?:can|could|do|did|would|have|am|don't|believe|cannot|can't|need|also|'ve)|i'm"
    r"|i've|(?:not|isn't|without) (?:enough|specif\w+|mention\w*|provid\w+|clear|possible)|unclear"
    r"|(?:difficult|hard|impossible|not possible) to (?:say|tell|determine|identify|accurately|know)"
    r"|textbook|consult|context|question|cannot be determined|unknown (?:from|based)|not at this time"
    r"|information (?:provided|available|given))\b", _I
)  # fmt: skip
_NOT_MEDICAL: Final = re.compile(
    r"\b(?:bottle|sunglasses|glasses|hair colou?r|institute|hospital|university|country|taken|camera"
    r"|photographer|author|book|copyright|come from|courtesy|watch|ring finger wearing|jewel\w*"
    r"|cloth\w*|shirt|wearing|background|gloves?|ruler|gender|sex of|who (?:took|is|are|was)|name of the (?:person"
    r"|patient|doctor|artist)|how old|age (?:of|group)|race|ethnicity|magnif\w+|scale bar|camera|angle"
    r"|lighting|labell?ed|arrows?|asterisk|letters?|numbers? \d|quality|objects?|person (?:located|sitting|standing)|food|drink|animal"
    r"|drawing|painting|diagram|graph|table|resolution|text|vehicle|tattoo artist|founded|journal"
    r"|professor|doing|holding|year|circles|jeans|flowers?|building|teeth|standing|dressed|pictured)\b", _I
)  # fmt: skip

_PHOTOGRAPH: Final = re.compile(
    r"\b(?:camera|blurr\w+|blurry|lighting|photograph\w*|background of|image quality|reflection)\b",
    _I,
)

NO_MEDICAL_QUESTION: Final = "no medical question"


def is_medical(question: str, answer: str) -> bool:
    """False where a row is about its own conversation, the photograph or no medicine at all."""
    talk = _TALK.search(question) or _TALK_ANSWER.search(answer)
    photograph = _PHOTOGRAPH.search(answer) or _NOT_MEDICAL.search(question)
    return not talk and not photograph


@cache
def intent(question: str) -> str:
    """What a question asks for; `other` where its words do not tell."""
    if _ANY_OTHER.search(question):
        return "presence"
    if re.search(r"\b(?:recur|reoccur|come back)\b", question, _I):
        return "prognosis"
    if _ASKS_NAME.match(question):
        return "name"
    return next((name for name, asks in _ASKED.items() if asks.search(question)), "other")
