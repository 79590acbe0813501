"""Who may call each operation of assessment."""

from assessment.domain.marks import OwnWork, SitsCourse
from shared.access import Access, Own, anyone, owner, staff

JUDGED = (OwnWork, SitsCourse)

ACCESS: Access = {
    "list_windows": anyone(),
    "make_window": staff("examiner", "operator", own=SitsCourse),
    "close_window": staff("examiner", "operator", own=SitsCourse),
    "put_brief": staff("examiner", own=SitsCourse),
    "read_assessment": owner("learner"),
    "submit_work": owner("learner"),
    "list_submissions": owner("learner"),
    "read_submission_file": owner("learner", staff=("marker", "examiner")),
    "list_marking_queue": staff("marker", own=Own.LEFT_OUT),
    "mark_submission": staff("marker", "examiner", own=JUDGED),
    "list_results": staff("examiner", own=Own.LEFT_OUT),
    "release_window": staff("examiner", own=Own.LEFT_OUT),
    "read_release": staff("examiner", own=Own.NOBODYS),
    "release_submission": staff("examiner", own=JUDGED),
    "ratify_results": staff("examiner", own=Own.LEFT_OUT),
    "read_board": staff("examiner", own=Own.NOBODYS),
    "revoke_credit": staff("examiner", own=JUDGED),
    "reinstate_credit": staff("examiner", own=JUDGED),
    "open_misconduct_case": staff("examiner", own=JUDGED),
    "decide_misconduct_case": staff("examiner", own=JUDGED),
    "list_misconduct_cases": staff("examiner", own=Own.LEFT_OUT),
}
