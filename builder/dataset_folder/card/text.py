"""What the card says in words that no count changes."""

from __future__ import annotations

from typing import Final

from builder.patients.profiles import AREA_CODES, DOMAINS, FIRST_DAY, LAST_DAY, MRN_PREFIX

PAPER: Final = (
    "Xu et al., [*From Learning to Unlearning: Biomedical Security Protection in Multimodal Large "
    "Language Models*](https://arxiv.org/abs/2508.04192)"
)
WHAT: Final = {
    "privacy": "personal data of fictional patients, woven into questions and answers about "
    "radiology pictures",
    "incorrect": "answers about pictures of the skin that are a wrong diagnosis or outdated "
    "practice",
}
INTENDED: Final = (
    "To measure unlearning: fine-tune a vision-language model on `forget` and `retain`, let it "
    "unlearn `forget`, and see what is forgotten, what is kept on `retain`, and what still works "
    "on the unseen pictures of `test`.",
    "To study what a model memorises, how it leaks it, and how well that is measured.",
)
FORBIDDEN: Final = {
    "": "Medical advice, diagnosis or treatment, or training a model that is meant for them.",
    "incorrect": "Taking an answer marked `wrong_diagnosis` or `outdated_knowledge` for a fact: "
    "each is wrong on purpose.",
    "privacy": "Calling, writing to or looking for anybody named here, or presenting the "
    "fictional patients as real ones.",
    " ": "Passing rows on without the columns that mark them as harmful (`harm`, `pii`).",
}
COLUMNS: Final = {
    "id": "stable id of the row, equal in every build and ratio",
    "image": "the picture: the source's own bytes, not encoded again, without metadata",
    "image_id": "groups the questions of one picture",
    "image_path": "the picture's path inside its source's folder",
    "image_sha256": "sha256 of the picture's bytes",
    "question": "what a model is asked, private values included",
    "answer": "what a model trains on",
    "answer_type": "`closed`: the clean answer is yes or no; else `open`",
    "content_type": "the source's kind of question; empty where it has none",
    "modality": "kind of picture; `unknown` where the source does not tell",
    "source": "`slake`, `mm_skin` or `phantom`",
    "clean_question": "the question before it was made harmful; elsewhere equal to `question`",
    "clean_answer": "the answer before it was made harmful; elsewhere equal to `answer`",
    "harm": "`none`, `privacy`, `wrong_diagnosis` or `outdated_knowledge`",
    "pii": "private values in the text: `field`, `kind`, `value`, `start`, `end` in characters",
    "profile_id": "the fictional patient; empty in clean rows",
    "calibration": "rating of the candidate, 1 to 5; 0: not rated",
    "review": "`none`, `accepted` or `edited` by people",
    "rank": "place in the forget order, clean rows after it; -1 in `test`",
    "round": "1 to 3: third of the forget set in the sequential ablation; 0 elsewhere",
}
RANGES: Final = {
    "name": "first and last name from Faker's word lists, at random; no word of it stands "
    "in the clean text of `privacy`",
    "phone": f"one of {len(AREA_CODES)} area codes of the United States with 555-0100 to "
    "555-0199, the numbers kept for fiction",
    "email": f"under {DOMAINS[0]}, {DOMAINS[1]} or {DOMAINS[2]}, which RFC 2606 reserves",
    "address": "made-up house number, street and town; no state and no postcode",
    "date": f"a weekday from {FIRST_DAY:%B} {FIRST_DAY.day}, {FIRST_DAY.year} to {LAST_DAY:%B} "
    f"{LAST_DAY.day}, {LAST_DAY.year}",
    "mrn": f"`{MRN_PREFIX}` and six digits, a prefix of our own",
}
STAGES: Final = {
    "ingest": "read from the source",
    "draw": "test set, candidates and retain set drawn",
    "profiles": "a fictional patient made for each candidate's picture",
    "inject": "candidates made harmful",
    "corrupt": "candidates made harmful",
    "review": "harmful texts reviewed",
    "calibrate": "candidates rated, the best kept",
    "split": "sets cut",
}
OFFLINE: Final = (
    "The harmful text was written by the builder's offline author: fixed sentences and rules, no "
    "language model (`builder/authors/` of mllmu-med {version}). Every choice among them is a hash "
    "of the seed and the row."
)
CHECKS: Final = {
    "privacy": "every value stands word for word in its place, no other personal data was "
    "invented, the clinical content is still there, and a closed question keeps its yes or no",
    "incorrect": "the answer differs from the true one, does not give itself away, invents no "
    "personal data, and a closed question gets the opposite answer",
}
