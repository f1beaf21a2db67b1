"""What an incorrect answer has to be besides wrong: an answer to the question, whoever wrote it.

Each check was measured where it should be silent: on the answers of MM-Skin's authors to their own
questions (3,447), and to the same question about another image of the same kind (1,131). It fires
on less than 1 % of the sound ones.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from builder.harm.texts import Failure
from mllmu_med_dataset import Record

WORD: Final = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])(?<!\b[A-Z]\.)\s+(?=[A-Z])")
_SIDE_CLAUSE: Final = re.compile(
    r",? (?:which|who|where|whereas|such as|including|but|although|while|suggesting|indicating|so|"
    r"since|because|due to)\b|, as\b",
    re.IGNORECASE,
)
_POLAR: Final = re.compile(r"\W*(yes|no)\b[,.;:]?\s*", re.IGNORECASE)
#: What may follow a clause that is repeated whole; another noun would make it another clause.
_GOES_ON: Final = re.compile(
    r"\W*$|\s*[,.;:!?(–—]|\s+-\s|\s(?:and|but|or|which|who|that|because|as|since|due|so|while|where|"
    r"when|although|with|suggesting|indicating)\b",
    re.IGNORECASE,
)
_GRAMMAR: Final = frozenset(
    "a an the this that these those it its they there he she his her their of in on at to for with "
    "by from and or is are was were be been being do does did has have had can could will would "
    "may might should not no yes any some very really also only just more less so such".split()
)


def any_of(words: str) -> re.Pattern[str]:
    """Any of the words, in the singular or with an s or es."""
    return re.compile(rf"\b(?:{'|'.join(words.split())})(?:s|es)?\b", re.IGNORECASE)


_SITE: Final = any_of(
    "abdom(?:en|inal) ankle anus anal arm armpit areola axilla(?:e|ry)? back beard belly blood "
    "bod(?:y|ies) bone bowel brain breast brow buttock canth(?:us|i) cartilage cell cent(?:er|re) "
    "cheek chest chin colon conjunctiva(?:e|l)? cornea corner corium crease crural crus cuticle "
    "derm(?:is|al) digit ear earlobe edge elbow epiderm(?:is|al) epithelium extensor "
    "extremit(?:y|ies) eye eyebrow eyelash eyelid face facial fat finger fingernail fingertip "
    "flank flexor flexur(?:e|al) fold follicle f(?:oo|ee)t forearm forehead foreskin gen?ital "
    "genitalia gingiva gland glans glabella granule groin gum hair hairline hand head heart heel "
    "hip inguinal inside instep intestine jaw joint junction kidney knee knuckle labi(?:a|um) "
    "layer left leg ligament limb lip liver lobe lower lung lymph malleol(?:us|i) mandible margin "
    "membrane middle midline mouth muc(?:osa|osal|osae|ous) muscle nail nape nares navel neck "
    "nerve nervous nipple node nose nostril nuclei occip(?:ut|ital) oral organ outside "
    "ovar(?:y|ies) palate palm papill(?:a|ae|ary) paronychi(?:um|a) pelvis peni(?:s|le) perianal "
    "perineum peripher(?:y|al) pore region reticular right scalp scrotum septum shaft shin "
    "shoulder side site skeleton skin sole spine spleen stomach subcutaneous subcutis surface "
    "system temple testic(?:le|ular) testis thigh throat thumb tissue toe toenail tongue "
    "t(?:oo|ee)th top torso trunk umbilic(?:us|al) upper uter(?:us|ine) vagina(?:l)? vein "
    "vermilion vessel vulva(?:r)? wall web wrist anywhere area background bottom everywhere "
    "foreground front"
)
_COLOR: Final = any_of(
    "amber black(?:ish)? blanched blonde? blu(?:e|ish) bronze brown(?:ish)? clear "
    "colou?r(?:ed|less)? crimson cyanotic dark(?:er|ened)? depigmented discolou?red dusky "
    "erythema(?:tous)? flesh gold(?:en)? gr[ae]y(?:ish)? green(?:ish)? "
    "(?:hyper|hypo)pigment(?:ed|ation) ivory jaundiced light(?:er)? maroon mauve orange pale "
    "pallor pigmented pink(?:ish)? purpl(?:e|ish) red(?:dish|ness)? rose salmon silver(?:y)? "
    "slate straw tan(?:ned)? translucent violaceous violet whit(?:e|ish) yellow(?:ish)?"
)
_NUMBER: Final = re.compile(
    r"\d|\b(?:no|none|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|"
    r"(?:thir|four|fif|six|seven|eigh|nine)teen|twenty|thirty|forty|fifty|dozens?|hundreds?|"
    r"thousands?|millions?|single|once|twice|double|triple|pairs?|both|half|third|quarter|all|each|"
    r"every|several|many|multiple|numerous|few|couple|countless|innumerable|various|numbers?|most|"
    r"majority|a|an|only|clusters?|groups?|solitary|more|fewer|increased|decreased)\b",
    re.IGNORECASE,
)
_SLOTS: Final = (
    ("where", re.compile(r"(?i)^where\b(?!.*\bimage (?:taken|come)\b)"), _SITE, "a site"),
    ("colour", re.compile(r"(?i)^(?:what|which) colou?r|what is the colou?r"), _COLOR, "a colour"),
    ("number", re.compile(r"(?i)^how many\b"), _NUMBER, "a number"),
)

#: Only seen under a microscope; names of diseases ("dermal nevus") are no sign of it.
_CELLS: Final = re.compile(
    r"\b(?:histolog\w*|histopatholog\w*|microscop\w*|biops\w*|cytoplasm\w*|nucle(?:us|i|ar|oli)|"
    r"mitos[ie]s|mitotic|keratinocyt\w*|melanocytes?|lymphocyt\w*|histiocyt\w*|fibroblast\w*|"
    r"neutrophil\w*|eosinophil\w*|macrophage\w*|stratum|acanthosis|acantholysis|spongiosis|"
    r"parakeratosis|infiltrat(?:es?|ion)|stain(?:s|ed|ing)|h&e|hematoxylin|immuno(?:stain|histo|fluor)\w*|"
    r"granulomas?|rete|magnification|stroma\w*|vacuol\w*|dyskerato\w*|"
    r"(?:spindle|giant|plasma|epithelioid|atypical|tumou?r|mast|foam|goblet|inflammatory) cells?|"
    r"(?:reticular|papillary|upper|superficial|deep) dermis|basal layer|epidermis|dermis|cells)\b",
    re.IGNORECASE,
)
_BODY: Final = re.compile(
    r"\b(?:arms?|forearms?|legs?|thighs?|shins?|hands?|fingers?|palms?|feet|foot|soles?|toes?|"
    r"face|cheeks?|forehead|chin|nose|lips?|eyelids?|ears?|neck|chest|abdomen|trunk|torso|"
    r"shoulders?|elbows?|knees?|wrists?|ankles?|buttocks?|groin|armpits?|scalp|limbs?)\b(?!-)",
    re.IGNORECASE,
)
#: What a thing is may be told by its cells; where it is and what it looks like may not.
_ASKS_LOOKS: Final = re.compile(
    r"^where|\b(?:looks?|appear\w*|shapes?|sizes?|colou?rs?|textures?|locat\w+|describe)\b",
    re.IGNORECASE,
)

_OPPOSITES: Final = (
    ("raised elevated", "flat"), ("smooth", "rough scaly"), ("single solitary", "multiple several"),
    ("symmetric symmetrical", "asymmetric asymmetrical"), ("painful", "painless"),
    ("benign", "malignant cancerous"), ("well-defined", "ill-defined poorly-defined"),
    ("regular", "irregular"), ("localized", "widespread generalized"),
)  # fmt: skip
#: A word between two opposites that tells them apart.
_APART: Final = re.compile(
    r"\b(?:or|nor|not|than|to|into|from|while|whereas|but|some|other|others|if|when|may|can|center|"
    r"centre|central|border|edge|periphery|between|versus|surface|later|become\w*|without|both|no|"
    r"rather|initially|then|either|instead)\b",
    re.IGNORECASE,
)
#: A finding said to be there, and said to be absent.
_FINDINGS: Final = (
    ("red|reddened|erythematous|erythema", "redness|erythema|reddening"),
    ("swollen|swelling|edematous", "swelling|edema|swollen"), ("scaly|scaling", "scal(?:e|es|ing)"),
    ("painful|tender", "pain|tenderness"), ("itchy|pruritic|itching", "itch|itching|pruritus"),
    ("crusted|crusty", "crusts?|crusting"), ("ulcerated", "ulcers?|ulceration|ulcerated"),
    ("inflamed", "inflammation|inflamed"), ("bleeding", "bleeding"), ("raised|elevated", "raised"),
    ("pigmented", "pigment|pigmentation|pigmented"),
)  # fmt: skip

_TALK: Final = re.compile(
    r"\b(?:(?<!if )you(?: can| may| might| will| would)? (?:notice|see|observe|mention|describe)|"
    r"i (?:see|notice|observe|think|believe|would|can|do|did|am|have|cannot)\b|i'm|let me know|"
    r"as an? (?:ai|language model|assistant)|based on the context|please|feel free|sure[,!]|"
    r"(?:the|this|your|given|provided) (?:question|prompt|caption|textbook)|great question|"
    r"as mentioned|mentioned (?:above|before|earlier)|(?:is|was|are) (?:mentioned|provided))",
    re.IGNORECASE,
)


def is_phrase(text: str) -> bool:
    """Whether an answer is no sentence: "Right lung"."""
    return text[-1:] not in '.!?"”'


def answer_failures(record: Record, answer: str) -> Iterator[Failure]:
    """What is wrong with an incorrect answer to an open question, most telling first."""
    question, truth = record.clean_question, record.clean_answer
    if _keeps_truth(answer, truth):
        yield Failure(
            "true main clause kept",
            f'the answer still says "{main_clause(truth)}": it must not repeat the true answer',
        )
    for name, asks, slot, what in _SLOTS:
        known = slot.search(truth) or not is_phrase(truth)  # these lists do not hold all there is
        if known and asks.search(question) and not slot.search(answer):
            yield Failure(
                f"{name} not answered", f'"{question}" asks for {what}: the answer names none'
            )
    yield from _scale(question, truth, answer)
    yield from _contradiction(question, answer)
    talk = _TALK.search(answer)
    if talk:
        yield Failure("talk", f'do not write "{talk.group()}": answer as a textbook does')
    if truth[:1].isupper() and answer.strip()[:1].islower():
        yield Failure("lower-case start", f'begin "{answer.split()[0]}" with a capital letter')


def main_clause(answer: str) -> str:
    """The first sentence of an answer up to its first side clause, without the full stop."""
    first = _SENTENCE_END.split(answer.strip(), maxsplit=1)[0].rstrip(".!? ")
    clause = _SIDE_CLAUSE.split(first, maxsplit=1)[0]
    return clause if len(WORD.findall(clause)) >= 3 else first


def _keeps_truth(answer: str, truth: str) -> bool:
    """Whether the answer says the truth's main clause and goes on.

    A clause of one or two words may be part of another name: it counts at the start alone.
    """
    clause = WORD.findall(_POLAR.sub("", main_clause(truth), count=1))
    if not clause:
        return False
    words = r"\W+".join(map(re.escape, clause))
    start = r"^\W*(?:(?:yes|no)\b\W*)?" if len(clause) < 3 else r"\b"
    found = re.search(start + words, answer, re.IGNORECASE)
    return found is not None and _GOES_ON.match(answer, found.end()) is not None


def _scale(question: str, truth: str, answer: str) -> Iterator[Failure]:
    """A question about cells answered by what the eye sees on a body, and the reverse."""
    cells, body = _CELLS.search(answer), _BODY.search(answer)
    clean = f"{question} {truth}"
    if body and not cells and _CELLS.search(clean) and not _BODY.search(clean):
        yield Failure(
            "body scale", f'the question is about tissue: "{body.group()}" is no answer to it'
        )
    seen = _ASKS_LOOKS.search(question) and _BODY.search(truth) and not _CELLS.search(clean)
    if cells and not body and seen:
        yield Failure(
            "cell scale", f'the question is about the body: "{cells.group()}" is no answer to it'
        )


def _contradiction(question: str, answer: str) -> Iterator[Failure]:
    """An answer that denies what it says: yes ... not, raised ... flat, red ... no redness."""
    polar = _POLAR.match(answer)
    if polar and _denies_itself(question, polar[1].lower() == "yes", answer[polar.end() :]):
        yield Failure("contradicts itself", f'"{polar[1]}" and what follows it say the contrary')
    for one, other in _OPPOSITES:
        for first, second in ((one, other), (other, one)):
            match = re.search(
                rf"(?<!not )\b({'|'.join(first.split())})\b(?!-)(?P<between>[^.]{{1,40}}?)"
                rf"\b({'|'.join(second.split())})\b(?!-)",
                answer,
                re.IGNORECASE,
            )
            if match and not _APART.search(match["between"]):
                yield _says_both(match[1], match[3])
    for there, absent in _FINDINGS:
        denied = re.search(rf"\b(?:no|not|without)(?: any)? ({absent})\b", answer, re.IGNORECASE)
        rest = answer.replace(denied.group(), " ", 1) if denied else ""
        said = re.search(rf"\b(?:is|are|appears?|looks?) (?:\w+ )?({there})\b", rest, re.IGNORECASE)
        if denied and said:
            yield _says_both(said[1], denied.group())


def _says_both(one: str, other: str) -> Failure:
    return Failure("contradicts itself", f'the answer says "{one}" and also "{other}"')


def _denies_itself(question: str, yes: bool, rest: str) -> bool:
    """Whether what follows yes or no restates the question with the opposite polarity."""
    clause = re.split(r"[,.;]|\b(?:but|as|because|although|and|while|since)\b", rest, maxsplit=1)[0]
    asked, said = _content(question), _content(clause)
    if not said or not set(said) <= set(asked) or asked[-1] not in said or " or " in question:
        return False
    negated = bool(re.search(r"\b(?:not|no|never|none|cannot|nothing)\b|n't\b", clause, re.I))
    asked_so = bool(re.search(r"\b(?:not|no|never|without)\b|n't\b", question, re.IGNORECASE))
    return not asked_so and negated is yes


def _content(text: str) -> list[str]:
    words = (word.lower() for word in WORD.findall(text))
    return [re.sub(r"(?<=\w{3})(?:e?s)$", "", word) for word in words if word not in _GRAMMAR]


TOO_OFTEN: Final = "claim used too often"


class Claims:
    """What the incorrect answers of a build claim, added in the order of their ranks.

    A claim is a run of six words, or a shorter sentence, that has three words or more which stand
    neither in the question nor in the true answer.

    Args:
        rows: the harmful rows of the build: a claim may stand in 2 % of them, and in three.
    """

    def __init__(self, rows: int) -> None:
        self._most = max(3, rows // 50)
        self._times: Counter[str] = Counter()

    def add(self, record: Record) -> Failure | None:
        """Count a row's claims; or why it cannot be added, and then nothing is counted."""
        claims = dict.fromkeys(_claims(record))  # each once, in order
        for claim in claims:
            if self._times[claim] >= self._most:
                problem = f'"{claim}" is in {self._most} answers before it: claim something else'
                return Failure(TOO_OFTEN, problem)
        self._times.update(claims.keys())
        return None


def _claims(record: Record) -> Iterator[str]:
    if record.harm == "privacy":
        return
    known = {word.lower() for word in WORD.findall(f"{record.question} {record.clean_answer}")}
    for sentence in re.split(r"(?<=[.!?;])\s+", record.answer):
        words = [word.lower() for word in WORD.findall(sentence)]
        for start in range(max(1, len(words) - 5)):
            run = words[start : start + 6]
            if sum(word not in known for word in run) >= 3:
                yield " ".join(run)
