"""Who may call each operation of assessment."""

from assessment.domain.marks import OwnWork
from shared.access import Access, Own, anyone, owner, staff

ACCESS: Access = {
    "list_windows": anyone(),
    "make_window": staff("examiner", "operator", own=Own.NOBODYS),
    "close_window": staff("examiner", "operator", own=Own.NOBODYS),
    "put_brief": staff("examiner", own=Own.NOBODYS),
    "read_assessment": owner("learner"),
    "submit_work": owner("learner"),
    "list_submissions": owner("learner"),
    "read_submission_file": owner("learner", staff=("marker", "examiner")),
    "list_marking_queue": staff("marker", own=Own.LEFT_OUT),
    "mark_submission": staff("marker", "examiner", own=OwnWork),
    "list_results": staff("examiner", own=Own.LEFT_OUT),
    "release_window": staff("examiner", own=Own.LEFT_OUT),
    "read_release": staff("examiner"),
    "release_submission": staff("examiner", own=OwnWork),
    "ratify_results": staff("examiner", own=Own.LEFT_OUT),
    "read_board": staff("examiner"),
    "revoke_credit": staff("examiner", own=OwnWork),
    "reinstate_credit": staff("examiner", own=OwnWork),
    "open_misconduct_case": staff("examiner", own=OwnWork),
    "decide_misconduct_case": staff("examiner", own=OwnWork),
    "list_misconduct_cases": staff("examiner"),
}
