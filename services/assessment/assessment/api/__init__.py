"""Door 1, HTTP in and out: for learners, and for those who mark, examine and sit on the board."""

from assessment.api import learners, results, staff

routers = (learners.router, staff.router, results.router)

__all__ = ["routers"]
