"""Learners with documents, for tests."""

from datetime import UTC, datetime
from typing import Any

from credentials.commands.people import store_person
from credentials.domain import documents, transcripts, view_models
from credentials.domain.documents import DocumentKind
from credentials.tables.people import Learner, Person

from .announcements import hold_credit as hold_credit_of_somebody
from .announcements import introduce, person

AT = datetime(2026, 11, 23, 17, 0, 42, tzinfo=UTC)
NUMBER = "MC-2026-7KQ2M4X9PAT"
ADDRESS = f"https://badges.example.ac.uk/documents/{NUMBER}"
NAMES = {
    "Latin with marks": "Zoë Müller-Łukasiewicz",
    "Vietnamese": "Nguyễn Thị Ánh Tuyết",
    "Cyrillic": "Дмитрий Шостакович",
    "Greek": "Ελένη Παπαδοπούλου",
    "Arabic": "محمد بن عبد الله",
    "Persian": "پریسا گلچین ژاله",
    "Urdu": "محمّد علی ٹھاکُر ڈار",
    "Pashto": "ښاغلی ځواک ټوکر",
    "Uyghur": "ئابلىكىم ھەسەن",
    "Kurdish": "ڕێبوار ڵەیلا",
    "Sindhi": "ڀٽائي ڄام ڳڙهي",
    "Hebrew": "דוד בן־גוריון",
    "Hebrew with points": "דָּוִד בֶּן־גּוּרִיּוֹן",
    "Devanagari": "अनुष्का शर्मा",
    "Marathi": "ज्ञानेश्वर त्र्यंबक ऱ्हाळकर",
    "Bengali": "রবীন্দ্রনাথ ঠাকুর",
    "Assamese": "ভূপেন হাজৰিকা",
    "Gurmukhi": "ਗੁਰਪ੍ਰੀਤ ਸਿੰਘ",
    "Gujarati": "મોહનદાસ ગાંધી",
    "Odia": "ଫକୀରମୋହନ ସେନାପତି",
    "Tamil": "ஸ்ரீனிவாச இராமானுஜன்",
    "Telugu": "శ్రీనివాస్ కృష్ణమూర్తి",
    "Kannada": "ಕುವೆಂಪು ಶ್ರೀಕಂಠ",
    "Malayalam": "ശ്രീകുമാർ കൃഷ്ണൻ",
    "Sinhala": "චන්ද්\u200dරිකා ශ්\u200dරී කුමාරතුංග",
    "Thai": "สมชาย ใจดี",
    "Lao": "ສົມສັກ ພົມມະຈັນ",
    "Khmer": "សុខ ស្រីមុំ ព្រំ",
    "Burmese": "အောင်ဆန်းစုကြည်",
    "Shan": "ၸၢႆးၸုမ်ႁႅင်း",
    "Armenian": "Արամ Խաչատրյան",
    "Georgian": "ნინო ბერიძე",
    "Ethiopic": "ኃይለ ገብረሥላሴ",
    "Kazakh": "Әлихан Бөкейхан Қаңтар",
    "Greek with breathings": "Ἑλένη Ὀδυσσεύς",
    "Yoruba": "Ọlábísí Àyọ̀bámi Ẹ̀ṣọ́",
    "Hausa": "Ɓala Ɗanƙwairo",
    "Chinese": "王小明",
    "rare Han": "𠮷野 龘 髙﨑",
    "Japanese": "山田 たろう カタカナ",
    "Korean": "김이순신",
    "from both sides": "محمد (Mo) علی Cohen כהן",
}
CREDIT = {
    "credit_id": "c1",
    "course_code": "7DS501",
    "course_title": "Applied Machine Learning",
    "subject": "Data Science",
    "credits": 15,
    "level": 7,
    "ratified_at": "2026-10-01T09:00:00Z",
    "institution": "Northbridge University",
}
ENTRY = {**CREDIT, "source": "internal", "mark": "68", "attempt": 1}
AWARD = {
    "award_id": "a1",
    "title": "PGCert in Data Science with Management",
    "level": "pgcert",
    "credits": 60,
    "credit_ids": ["c1"],
    "classification": "Merit",
    "mark": 66,
    "state": "conferred",
    "certificate_number": NUMBER,
    "conferred_at": "2026-11-02T09:00:00Z",
    "superseded_at": None,
    "superseded_by": None,
}
LATER: dict[str, Any] = {
    "state": "superseded",
    "superseded_at": "2027-03-02T09:00:00Z",
    "superseded_by": "PGDip in Data Science",
}


async def hold_credit(session, learner, **counts: int) -> None:
    """As everywhere, of a learner whose name is known."""
    if await session.get(Person, learner) is None:
        await introduce(session, learner)
    await hold_credit_of_somebody(session, learner, **counts)


async def documents_of(client) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for document in (await client.get("/v1/documents")).json()["items"]:
        found.setdefault(document["kind"], []).append(document)
    return found


async def conferred(service, learner, title: str = "PGCert in Data Science", level: str = "pgcert") -> dict:
    async with service.client("learner", id=learner) as client, service.client("registrar") as office:
        claimed = await client.post("/v1/award-claims", json={"level": level, "title": title})
        return (await office.post(f"/v1/award-claims/{claimed.json()['award_id']}/conferral")).json()


async def rename(session, learner, version: int, **names: str) -> None:
    session.expire_all()
    row = await session.get(Learner, learner)
    row.name_version = version
    await session.flush()
    await store_person(session, person(learner, name_version=version, name_decided=True, **names))
    await session.flush()
    session.expire_all()


def view_model(
    kind: DocumentKind, name: str = "Ada Lovelace", *, is_newest: bool = True, **changes: object
) -> view_models.ViewModel:
    said = {
        DocumentKind.TRANSCRIPT: lambda: transcripts.content("learner", name, [ENTRY], [AWARD]),
        DocumentKind.CERTIFICATE: lambda: {"name": name, **CREDIT},
        DocumentKind.PARCHMENT: lambda: {"name": name, **AWARD},
    }[kind]() | changes
    content = documents.edition(said, 3, AT, "0" * 32)
    return view_models.view_model(
        kind,
        content,
        issuer="University of Example",
        number=NUMBER,
        address=ADDRESS,
        sha256=documents.hash_of(content),
        is_newest=is_newest,
    )
