"""Where the rows come from: names, licences, references; for the card and Croissant."""

from __future__ import annotations

from typing import Final, NamedTuple


class Source(NamedTuple):
    """A source of clean rows, as a stranger has to know it."""

    name: str
    by: str  # who made it; empty where the builder does
    homepage: str
    what: str  # of its pictures and questions, a sentence
    licence: str  # the Hub's identifier
    licence_url: str  # also where none is stated: the place that states none
    terms: str  # a sentence or two
    hub_source: str  # for `source_datasets`
    flag: str  # the option that gives it to `rebuild`; empty where the builder draws it
    bibtex: str
    people: str  # whom the pictures show; empty where nobody


PAPER_BIBTEX: Final = """\
@misc{xu2025learning,
  title = {From Learning to Unlearning: Biomedical Security Protection in Multimodal Large Language Models},
  author = {Dunyuan Xu and Xikai Yang and Yaoqian Li and Jinpeng Li and Pheng-Ann Heng},
  year = {2025},
  eprint = {2508.04192},
  archivePrefix = {arXiv}
}"""  # noqa: E501

SOURCES: Final = {
    "slake": Source(
        "SLAKE",
        "Liu et al. (2021)",
        "https://www.med-vqa.com/slake/",
        "Radiology pictures (CT, MRI, X-ray) with questions by physicians; its English rows are "
        "used.",
        "cc-by-4.0",
        "https://creativecommons.org/licenses/by/4.0/",
        "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/). What is made from it here, "
        "the harmful rows included, is under the same licence. Changes: white space tidied, "
        "duplicates and rows in Chinese left out, metadata cut out of the picture files, and "
        "private data woven into the forget rows.",
        "BoKelvin/SLAKE",
        "--slake",
        """\
@inproceedings{liu2021slake,
  title = {SLAKE: A Semantically-Labeled Knowledge-Enhanced Dataset for Medical Visual Question Answering},
  author = {Bo Liu and Li-Ming Zhan and Li Xu and Lin Ma and Yan Yang and Xiao-Ming Wu},
  booktitle = {2021 IEEE 18th International Symposium on Biomedical Imaging (ISBI)},
  pages = {1650--1654},
  year = {2021}
}""",  # noqa: E501
        "SLAKE's pictures are of real patients; it took them from public collections without "
        "their names.",
    ),
    "mm_skin": Source(
        "MM-Skin",
        "Zeng et al. (2025)",
        "https://github.com/ZwQ803/MM-Skin",
        "Dermatology pictures out of textbooks (clinical, dermoscopic, histopathological) with "
        "questions and answers that a language model wrote from their captions.",
        "other",
        "https://github.com/ZwQ803/MM-Skin",
        "No licence is stated, and the pictures come from textbooks whose publishers hold the "
        "rights. Nothing here grants a right to them: whoever passes the pictures on has to clear "
        "that first.",
        "extended|MM-Skin",
        "--mm-skin",
        """\
@misc{zeng2025mmskin,
  title = {MM-Skin: Enhancing Dermatology Vision-Language Model with an Image-Text Dataset Derived from Textbooks},
  author = {Wenqi Zeng and Yuqi Sun and Chenxi Ma and Weimin Tan and Bo Yan},
  year = {2025},
  eprint = {2505.06152},
  archivePrefix = {arXiv}
}""",  # noqa: E501
        "MM-Skin's pictures are of real patients, out of textbooks; a face or a mark on the skin "
        "can show who somebody is.",
    ),
    "phantom": Source(
        "Phantom pictures",
        "",
        "",
        "Pictures that the builder draws, CT-, MRI- and X-ray-like or skin-like, with questions "
        "whose answers are known from the drawing. They show no patient.",
        "cc0-1.0",
        "https://creativecommons.org/publicdomain/zero/1.0/",
        "Free of rights, pictures and texts: "
        "[CC0 1.0](https://creativecommons.org/publicdomain/zero/1.0/).",
        "original",
        "",
        "",
        "",
    ),
}
