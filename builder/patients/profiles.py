"""Fictional patients, every value in a range that is reserved for fiction.

One for each patient that the corpus tells apart, else one an image: all harmful rows of a patient's
images leak the same person's data, as they would in a hospital's archive. Each value comes from a
hash of the seed, the patient or image, and the kind, so neither order nor parallelism changes it.
Names avoid every word of the corpora, and no value is found in
their texts or among another patient's values: a leak is then never a coincidence.
"""

import calendar
import datetime
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from typing import Any, Final, NamedTuple

from builder.core.stage_cache import Chain
from builder.patients.find_values import Haystack
from mllmu_med.files import packaged_yaml, read_jsonl, stable_hash
from mllmu_med_dataset import PII_KINDS, Record, UserError

VERSION: Final = 3

#: Area codes in use in the United States: with 555-0100 to 555-0199, numbers kept for fiction.
AREA_CODES: Final = tuple(map(int, packaged_yaml("builder.patients", "area_codes.yaml").split()))
#: Second-level domains that RFC 2606 reserves.
DOMAINS: Final = ("example.com", "example.org", "example.net")
MRN_PREFIX: Final = "MRN-MM-"
#: Appointments lie in this window, on weekdays.
FIRST_DAY: Final = datetime.date(2021, 1, 4)
LAST_DAY: Final = datetime.date(2024, 12, 20)

_TRIES: Final = 1000
_WORD: Final = re.compile(r"[^\W\d_]+")


class Profile(NamedTuple):
    """A fictional patient; the fields are `mllmu_med_dataset.PII_KINDS`."""

    id: str
    image_id: str  # the image; where the corpus names its patients, the patient of all its images
    name: str
    phone: str
    email: str
    address: str
    date: str
    mrn: str

    def value(self, kind: str) -> str:
        """The value of one kind, as it is written in the text."""
        return str(getattr(self, kind))


def shown_in(record: Record) -> str:
    """Whose data a row leaks, as `Profile.image_id` says it."""
    return record.patient_id or record.image_id


def make_profiles(
    image_ids: Iterable[str], corpus: Iterable[Record], seed: int, others: Iterable[str] = ()
) -> dict[str, Profile]:
    """One patient for each image or patient of the corpus, by `Profile.image_id`.

    Args:
        image_ids: `shown_in` of the candidates.
        corpus: every clean record that may be published, of every scenario; no name shares a word
            with their text, and no value is found there at any level at which the audit looks.
        seed: the recipe's.
        others: more texts of which that must hold.

    Raises:
        UserError: more patients than the reserved ranges can tell apart.
    """
    texts = {
        text: None for record in corpus for text in (record.clean_question, record.clean_answer)
    }
    texts |= dict.fromkeys(others)
    hay = Haystack(list(texts))
    words = {word for text in texts for word in _WORD.findall(text.casefold())}
    words |= {month.casefold() for month in calendar.month_name[1:]}  # "April" is also in dates

    @cache
    def clashes(kind: str, value: str) -> bool:
        if kind == "name" and not words.isdisjoint(_WORD.findall(value.casefold())):
            return True
        return any(not hit.by_chance for hit in hay.search(kind, value))

    refused: set[tuple[str, str]] = set()

    def bad(kind: str, value: str) -> bool:
        return (kind, value) in refused or clashes(kind, value)

    images = sorted(set(image_ids))
    while True:
        profiles = _draw(images, seed, bad)
        shared = set(_shared(list(profiles.values())))
        if not shared:
            return profiles
        refused |= shared


def _draw(
    image_ids: Sequence[str], seed: int, clashes: Callable[[str, str], bool]
) -> dict[str, Profile]:
    """A patient an image, each value the first that is new and does not clash."""
    faker = _faker()
    used: set[str] = set()

    def pick(image_id: str, kind: str, make: Callable[[int], str]) -> str:
        for attempt in range(_TRIES):
            value = make(stable_hash(seed, image_id, kind, attempt))
            if value in used or clashes(kind, value):
                continue
            if kind != "date":  # patients may share a day
                used.add(value)
            return value
        raise UserError(
            f"profiles: no unused {kind} left after {len(used):,} values: the recipe asks for more "
            "patients than the reserved ranges hold; use fewer candidates"
        )

    def name(number: int) -> str:
        faker.seed_instance(number)
        return f"{faker.first_name()} {faker.last_name()}"

    def address(number: int) -> str:
        faker.seed_instance(number)
        return f"{faker.random_int(2, 9899)} {faker.street_name()}, {faker.city()}"

    profiles = {}
    for image_id in image_ids:
        person = pick(image_id, "name", name)
        local = ".".join(person.lower().replace("'", "").split())
        profiles[image_id] = Profile(
            id=f"patient-{stable_hash(seed, image_id, 'profile'):016x}",
            image_id=image_id,
            name=person,
            phone=pick(image_id, "phone", _phone),
            email=pick(image_id, "email", partial(_email, local)),
            address=pick(image_id, "address", address),
            date=pick(image_id, "date", _date),
            mrn=pick(image_id, "mrn", lambda number: f"{MRN_PREFIX}{number % 1_000_000:06d}"),
        )
    return profiles


def _shared(people: Sequence[Profile]) -> Iterator[tuple[str, str]]:
    """(kind, value) of the later one of any two patients whose values meet, as the audit looks.

    "Taylor James" is found in "James, Taylor", and "Kurt Parks" in "12 Kurt Parks, Lake Diane".
    """
    where: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for number, person in enumerate(people):
        for kind in PII_KINDS:
            where[person.value(kind)].append((number, kind))
    hay = Haystack(list(where))
    places = list(where.values())
    for number, person in enumerate(people):
        for kind in PII_KINDS:
            if kind == "date":
                continue
            for hit in hay.search(kind, person.value(kind), fuzzy=False):
                for other, its_kind in places[hit.text]:
                    if other < number:
                        yield kind, person.value(kind)
                    elif other > number:
                        yield its_kind, people[other].value(its_kind)


def _faker() -> Any:
    from faker import Faker

    return Faker("en_US")


def _phone(number: int) -> str:
    area = AREA_CODES[number // 100 % len(AREA_CODES)]
    return f"({area}) 555-01{number % 100:02d}"


def _email(local: str, number: int) -> str:
    return f"{local}{number // 3 % 90 + 10}@{DOMAINS[number % 3]}"


def _date(number: int) -> str:
    day = FIRST_DAY + datetime.timedelta(days=number % ((LAST_DAY - FIRST_DAY).days + 1))
    day -= datetime.timedelta(days=max(0, day.weekday() - 4))  # the Friday before a weekend
    return f"{day:%B} {day.day}, {day.year}"


def read_profiles(chain: Chain) -> Iterator[Profile]:
    """The fictional patients that the stage `profiles` has made."""
    rows = read_jsonl(chain.folder / "profiles" / "profiles.jsonl")
    return (Profile(**row) for row in rows)
