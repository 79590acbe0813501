"""Door 1, HTTP in and out: for learners, and for those who mark, examine and sit on the board."""

from assessment.api import learners, staff

routers = (learners.router, staff.router)

__all__ = ["routers"]
