from shared.access import Access, anyone, owner, staff

ACCESS: Access = {
    "list_windows": anyone(),
    "make_window": staff("examiner", "operator"),
    "close_window": staff("examiner", "operator"),
    "put_brief": staff("examiner"),
    "read_assessment": owner("learner"),
    "submit_work": owner("learner"),
    "list_submissions": owner("learner"),
    "read_submission_file": owner("learner", staff=("marker", "examiner")),
    "list_marking_queue": staff("marker"),
    "mark_submission": staff("marker", "examiner"),
    "list_results": staff("examiner"),
    "release_window": staff("examiner"),
    "release_submission": staff("examiner"),
    "ratify_results": staff("examiner"),
    "revoke_credit": staff("examiner"),
    "reinstate_credit": staff("examiner"),
    "open_misconduct_case": staff("examiner"),
    "decide_misconduct_case": staff("examiner"),
    "list_misconduct_cases": staff("examiner"),
}
