"""What the gateway does about what others announced: nothing yet; an account does not depend on the learner."""

from shared.messaging import Inbox

inbox = Inbox("gateway")
