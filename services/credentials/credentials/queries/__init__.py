"""Reads longer than a primary-key look-up."""

from credentials.queries.awards import live_badge_of_award, open_reviews, reviews_query, superseded_by
from credentials.queries.courses import CourseOnFile, courses_by_id, on_sale, studied_by
from credentials.queries.issued import (
    achievement_of,
    active_key,
    award_states,
    badge_names,
    badges_of,
    latest_transcript,
    places_taken,
    published_keys,
    revoked_counts,
    revoked_places,
    unsigned_badges,
)
from credentials.queries.people import outdated_people
from credentials.queries.records import Line, Record, allocations_of, awards_query, is_on_hold, pending_of, record_of
from credentials.queries.sharing import (
    READING,
    live_shares_with_partners,
    recipients,
    share_by_secret,
    shareable,
    shares_for,
    shares_of,
    viewings_of,
)

__all__ = [
    "READING",
    "CourseOnFile",
    "Line",
    "Record",
    "achievement_of",
    "active_key",
    "allocations_of",
    "award_states",
    "awards_query",
    "badge_names",
    "badges_of",
    "courses_by_id",
    "is_on_hold",
    "latest_transcript",
    "live_badge_of_award",
    "live_shares_with_partners",
    "on_sale",
    "open_reviews",
    "outdated_people",
    "pending_of",
    "places_taken",
    "published_keys",
    "recipients",
    "record_of",
    "reviews_query",
    "revoked_counts",
    "revoked_places",
    "share_by_secret",
    "shareable",
    "shares_for",
    "shares_of",
    "studied_by",
    "superseded_by",
    "unsigned_badges",
    "viewings_of",
]
