"""Phantom pictures: the same number gives the same picture, and the pixels bear the answers out."""

import io
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from builder.ingest.phantoms import anatomy, morphology, scans, skin_scenes
from builder.ingest.phantoms.draw import PhantomImage
from builder.ingest.phantoms.morphology import COLOURS, Skin
from builder.ingest.phantoms.radiology import draw_radiology
from builder.ingest.phantoms.skin import draw_skin

Numbers = NDArray[np.float32]
HALVES = {
    "left": np.s_[:, :160],
    "right": np.s_[:, 160:],
    "upper": np.s_[:160],
    "lower": np.s_[160:],
}
OPPOSITE = {"left": "right", "right": "left", "upper": "lower", "lower": "upper"}


@cache
def radiology() -> list[PhantomImage]:
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(lambda index: draw_radiology(0, index), range(120)))


@cache
def skin() -> list[PhantomImage]:
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(lambda index: draw_skin(0, index), range(80)))


def small(drawn: Numbers) -> Numbers:
    """64x64 by averaging: what a tiny model sees."""
    return drawn.reshape(64, 5, 64, 5).mean((1, 3))


def components(mask: NDArray[np.bool_]) -> int:
    """How many 4-connected regions a small mask has."""
    left = {(int(row), int(column)) for row, column in np.argwhere(mask)}
    count = 0
    while left:
        count += 1
        edge = [left.pop()]
        while edge:
            row, column = edge.pop()
            near = {(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)}
            edge += near & left
            left -= near
    return count


@pytest.mark.parametrize("draw", [draw_radiology, draw_skin])
def test_a_image_depends_on_its_seed_and_number_only(draw):
    first = draw(3, 5)
    draw(3, 6)
    assert draw(3, 5) == first
    assert draw(3, 6).png != first.png
    assert draw(4, 5).png != first.png


def test_files_are_plain_pngs_of_the_stated_size():
    for draws, mode, largest in ((radiology(), "L", 70_000), (skin(), "RGB", 120_000)):
        for drawn in draws:
            assert 20_000 < len(drawn.png) < largest
            chunks, at = [], 8
            while at < len(drawn.png):
                chunks.append(drawn.png[at + 4 : at + 8])
                at += 12 + int.from_bytes(drawn.png[at : at + 4], "big")
            assert set(chunks) == {b"IHDR", b"IDAT", b"IEND"}
            with Image.open(io.BytesIO(drawn.png)) as image:
                image.load()
                assert (image.mode, image.size, image.info) == (mode, (320, 320), {})


def test_modalities_have_the_shares_of_the_paper():
    kinds = Counter(anatomy.plan(1, index).kind.split()[1] for index in range(400))
    skins = Counter(morphology.plan(1, index).modality for index in range(400))
    for counts, shares in (
        (kinds, {"CT": 0.47, "X-Ray": 0.30, "MRI": 0.23}),
        (skins, {"clinical": 0.63, "histopathology": 0.27, "dermoscopy": 0.10}),
    ):
        assert counts.keys() == shares.keys()
        assert all(abs(counts[name] / 400 - share) < 0.06 for name, share in shares.items())


def test_radiology_questions_are_counted_and_balanced_like_slakes():
    questions = [question for drawn in radiology() for question in drawn.questions]
    numbers = Counter(len(drawn.questions) for drawn in radiology())
    assert set(numbers) <= {9, 10, 11, 12}
    assert numbers[11] > 80
    answers = Counter(question.answer for question in questions)
    closed = answers["Yes"] + answers["No"]
    assert 0.18 < closed / len(questions) < 0.28  # fewer than SLAKE's: they hold no private answer
    assert 0.35 < answers["Yes"] / closed < 0.65
    assert all(len(answer.split()) <= 2 for answer in answers)


def test_skin_answers_are_sentences_and_a_quarter_say_yes_or_no():
    questions = [question for drawn in skin() for question in drawn.questions]
    assert {len(drawn.questions) for drawn in skin()} == {1, 2}
    assert 1.35 < len(questions) / len(skin()) < 1.6
    assert all(8 <= len(question.answer.split()) <= 25 for question in questions)
    assert all(question.answer.endswith(".") for question in questions)
    closed = [one for one in questions if one.answer.startswith(("Yes, ", "No, "))]
    assert 0.15 < len(closed) / len(questions) < 0.35
    assert 0.25 < sum(one.answer.startswith("Yes") for one in closed) / len(closed) < 0.75


@pytest.mark.parametrize("draws", [radiology, skin])
def test_a_image_asks_nothing_twice(draws):
    for drawn in draws():
        texts = [question.text for question in drawn.questions]
        assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(("draws", "enough"), [(radiology, 8), (skin, 5)])
def test_no_question_has_the_same_answer_on_every_image(draws, enough):
    answers: dict[str, list[str]] = defaultdict(list)
    for drawn in draws():
        for question in drawn.questions:
            answers[question.text].append(question.answer)
            answers[question.content_type].append(question.answer)
    often = {text: given for text, given in answers.items() if len(given) >= enough}
    assert len(often) > 8
    assert [text for text, given in often.items() if len(set(given)) == 1] == []


def test_the_caption_states_the_open_answers():
    synonyms = {"Head": "head", "Lung": "chest", "Normal": "normal", "Both": "both sides"}
    for drawn in radiology():
        for question in drawn.questions:
            if question.answer in ("Yes", "No") or question.text.startswith("Which organ takes"):
                continue
            stated = synonyms.get(question.answer, question.answer).lower().removesuffix(" plane")
            assert stated in drawn.caption.lower(), (question, drawn.caption)


@cache
def lesioned() -> list[tuple[anatomy.Scan, Numbers]]:
    """Scans with lesions, and what the lesions change."""
    planned = [anatomy.plan(2, index) for index in range(50)]
    return [
        (scan, scans.render(scan) - scans.render(replace(scan, lesions=())))
        for scan in planned
        if scan.lesions
    ]


def test_a_lesion_is_on_the_side_that_is_stated():
    seen = set()
    for scan, change in lesioned():
        organs = {lesion.organ for lesion in scan.lesions}
        if len(organs) > 1:
            continue
        side = "left" if scan.lesions[0].x < 0 else "right"
        change = np.abs(change)
        if all((lesion.x < 0) == (side == "left") for lesion in scan.lesions):
            assert change[HALVES[side]].mean() > 3 * change[HALVES[OPPOSITE[side]]].mean()
            seen.add(side)
    assert seen == {"left", "right"}


def test_lesions_are_brighter_or_darker_as_stated_and_visible_when_small():
    for scan, change in lesioned():
        sign = 1 if scan.brighter else -1
        assert (sign * change[np.abs(change) > 0.1]).mean() > 0.1, scan
        assert (sign * small(change)).max() > 0.15, scan


def test_lesions_can_be_counted_at_64_pixels():
    for scan, change in lesioned():
        seen = small(np.abs(change))
        assert components(seen > 0.2 * seen.max()) == len(scan.lesions), scan


def test_small_and_large_lesions_differ_in_area():
    areas: dict[str, list[float]] = {"Small": [], "Large": []}
    for scan, change in lesioned():
        area = float((np.abs(change) > 0.07).sum()) / len(scan.lesions)
        areas[scan.size].append(area)
    assert max(areas["Small"]) < 1500 < min(areas["Large"])


def test_a_missing_kidney_is_missing_on_the_stated_side():
    planned = [anatomy.plan(2, index) for index in range(90)]
    missing = [one for one in planned if one.kind == "abdomen CT" and one.missing_kidney]
    assert {scan.missing_kidney for scan in missing} == {"left", "right"}
    for scan in missing:
        scan = replace(scan, lesions=())
        whole = scans.render(replace(scan, missing_kidney=""))
        change = np.abs(whole - scans.render(scan))
        side = scan.missing_kidney
        assert change[HALVES[side]].mean() > 10 * change[HALVES[OPPOSITE[side]]].mean()


def test_the_fluid_of_the_ventricles_tells_t1_from_t2():
    planned = [anatomy.plan(2, index) for index in range(50)]
    for scan in (one for one in planned if one.kind == "brain MRI"):
        drawn = scans.render(replace(scan, lesions=()))
        row, column = round((scan.y + 1.02) * 160), round((scan.x + 1) * 160)
        middle = float(drawn[row - 3 : row + 4, column - 1 : column + 2].mean())
        assert middle < 0.3 if scan.weighting == "T1" else middle > 0.7


def skins(modality: str, wanted: int) -> list[Skin]:
    planned = [morphology.plan(2, index) for index in range(400)]
    return [one for one in planned if one.modality == modality][:wanted]


@cache
def clinical() -> list[tuple[Skin, Numbers, Numbers]]:
    """Clinical phantoms, their pixels, and how much their lesions change."""
    found = []
    for one in skins("clinical", 32):
        drawn = skin_scenes.render(one)
        bare = skin_scenes.render(replace(one, spots=()))
        found.append((one, drawn, np.abs(drawn - bare).max(0)))
    return found


def test_skin_lesions_are_where_the_answer_says():
    seen = set()
    for one, _, change in clinical():
        seen.add(one.where)
        if one.where in HALVES:
            there, opposite = change[HALVES[one.where]], change[HALVES[OPPOSITE[one.where]]]
            assert there.mean() > 4 * opposite.mean(), one
        elif one.where == "center":
            assert change[80:240, 80:240].mean() > 2 * change.mean(), one
    assert seen == {*HALVES, "center", "all over"}


def test_skin_lesions_can_be_counted_at_64_pixels():
    for one, _, change in clinical():
        if one.form in ("macule", "papules", "plaque", "ring"):
            assert components(small(change) > 0.15) == len(one.spots), one


def test_flat_and_domed_lesions_have_the_stated_colour():
    for one, drawn, change in clinical():
        if one.form in ("macule", "papules"):
            inside = np.median(drawn[:, change > 0.35 * change.max()], axis=1)
            near = {name: float(np.abs(inside - rgb).sum()) for name, rgb in COLOURS.items()}
            names = [name for name in near if " " not in name]
            assert min(names, key=near.__getitem__) == one.colour, one


def test_the_surface_of_a_histology_phantom_is_at_the_stated_end():
    for one in skins("histopathology", 20):
        brightness = skin_scenes.render(one).mean((0, 2))
        top, bottom = brightness[:20].mean(), brightness[-20:].mean()
        assert bool(bottom > top) == one.flipped


def test_the_darkest_part_of_an_asymmetric_lesion_is_where_the_answer_says():
    for one in skins("dermoscopy", 30):
        if one.shape == "asymmetric":
            middle = slice(70, 250)  # leaves out the black frame of the round view
            dark = np.zeros((320, 320), np.float32)
            dark[middle, middle] = skin_scenes.render(one).max(0)[middle, middle] < 0.25
            x, y = one.spots[0].x, one.spots[0].y
            dark = np.roll(dark, (-round(y * 160), -round(x * 160)), (0, 1))
            assert dark[HALVES[one.where]].sum() > dark[HALVES[OPPOSITE[one.where]]].sum(), one
