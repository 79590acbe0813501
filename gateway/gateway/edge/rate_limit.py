"""Token buckets, one per caller and policy, in this process's memory.

With n gateway processes a caller may reach n times the quota: the limit protects the services, it meters nothing.
Headers follow draft-ietf-httpapi-ratelimit-headers-11.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Policy:
    """A rate limit: `quota` requests in any `window` seconds, spent in one burst or evenly."""

    name: str
    quota: int
    window: int


class Spent(NamedTuple):
    """A caller's bucket after a request: `remaining` whole requests; `reset` in seconds.

    `reset` is when the bucket is full again or, where the request was not `allowed`, when one fits.
    """

    allowed: bool
    remaining: int
    reset: int


class RateLimiter:
    """All callers' buckets under one policy; at most `capacity` are kept."""

    def __init__(self, policy: Policy, *, capacity: int = 50_000) -> None:
        self.policy = policy
        self.capacity = capacity
        self._quota = float(policy.quota)
        self._rate = policy.quota / policy.window
        self._levels: dict[str, tuple[float, float]] = {}
        self._announced = (b"ratelimit-policy", f'"{policy.name}";q={policy.quota};w={policy.window}'.encode())
        self._left = f'"{policy.name}";r=%d;t=%d'.encode()

    def take(self, caller: str, now: float) -> Spent:
        """Spend one request of `caller` at `now`, an instant of the monotonic clock."""
        quota, rate = self._quota, self._rate
        found = self._levels.get(caller)
        if found is None:
            if len(self._levels) >= self.capacity:
                self._forget(now)
            level = quota
        else:
            level = found[0] + (now - found[1]) * rate
            level = min(level, quota)
        if level < 1:
            self._levels[caller] = (level, now)
            return Spent(allowed=False, remaining=0, reset=max(1, math.ceil((1 - level) / rate)))
        level -= 1
        self._levels[caller] = (level, now)
        return Spent(allowed=True, remaining=int(level), reset=math.ceil((quota - level) / rate))

    def headers(self, spent: Spent) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
        """Return `RateLimit-Policy` and `RateLimit` as ASGI headers."""
        return self._announced, (b"ratelimit", self._left % (spent.remaining, spent.reset))

    def _forget(self, now: float) -> None:
        """Make room: drop full buckets, which are as good as none; where none is full, those unused the longest."""
        quota, rate = self.policy.quota, self._rate
        self._levels = {c: (n, at) for c, (n, at) in self._levels.items() if n + (now - at) * rate < quota}
        if len(self._levels) >= self.capacity:
            oldest = sorted(self._levels, key=lambda caller: self._levels[caller][1])
            for caller in oldest[: self.capacity // 10 + 1]:
                del self._levels[caller]
