"""Records of learning, as CLR documents with a key of the tests."""

from credentials.domain import badges, learner_records
from credentials.domain.learner_records import Cover, Part
from openbadges import proofs
from openbadges.badges import status_entry
from openbadges.signable import instant

from .badges import COURSE, ISSUER, NOW, ROOT, SIGNER, build, values

ADDRESS = f"{ROOT}/documents/MC-2026-7KQ2M4X9PAT"
SUBJECT = "urn:uuid:00000000-0000-4000-8000-00000000c1a0"
STATUS = status_entry(f"{ROOT}/status/revocation/1#94567", f"{ROOT}/status/revocation/1", "94567")


def badge(n: int, **changes: object) -> dict:
    course = badges.Achievement(**{**vars(COURSE), "url": f"{ROOT}/achievements/{n}", "name": f"Course {n}", **changes})
    return proofs.sign(build(values(n), course), SIGNER, NOW)


def record(count: int = 4, *, results: bool = True, partial: bool = False) -> dict:
    courses = [Part(f"c{n}", badge(n)) for n in range(count)]
    award = Part("a", badge(count, kind="Certificate"), frozenset(part.id for part in courses))
    credits_ = [
        {"credit_id": part.id, "course_title": "Course", "course_code": "7DS501", "mark": "68", "attempt": 1}
        for part in courses
    ]
    cover = Cover(ADDRESS, SUBJECT, name="Zoë Müller-Łukasiewicz", as_at=instant(NOW), status=STATUS)
    stated = learner_records.results_document(
        ISSUER, cover, valid_from=instant(NOW), credits_=credits_ if results else []
    )
    unsigned = learner_records.record_document(
        ISSUER,
        cover,
        valid_from=instant(NOW),
        parts=[*courses, award],
        results=None if stated is None else proofs.sign(stated, SIGNER, NOW),
        partial=partial,
    )
    return proofs.sign(unsigned, SIGNER, NOW)
