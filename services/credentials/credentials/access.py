"""Who may do what. One's own record is one's own; a registrar sees and confers awards; checking is for everyone."""

from shared.access import Access, anyone, owner, staff

ACCESS: Access = {
    "list_credits": owner("learner"),
    "compare_credit_records": staff("operator"),
    "list_badges": owner("learner"),
    "read_badge": owner("learner"),
    "read_transcript": owner("learner"),
    "list_award_options": owner("learner"),
    "claim_award": owner("learner"),
    "list_awards": owner("learner", staff=("registrar",)),
    "read_award": owner("learner", staff=("registrar",)),
    "confer_award": staff("registrar"),
    "withdraw_award_claim": owner("learner"),
    "refuse_award_claim": staff("registrar"),
    "list_award_reviews": owner("learner", staff=("registrar", "examiner")),
    "read_award_review": owner("learner", staff=("registrar", "examiner")),
    "decide_award_review": staff("registrar", "examiner"),
    "verify_credential": anyone(),
    "read_credential": anyone(),
    "read_verification_page": anyone(),
    "read_status_list": anyone(),
    "read_achievement": anyone(),
    "read_did_document": anyone(),
}
