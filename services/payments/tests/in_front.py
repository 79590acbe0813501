"""What stands in front of the payment provider and answers in its stead."""


class InFront:
    """Answers in the provider's stead while it is `on`."""

    def __init__(self, app, operation, status, page):
        self.app, self.operation, self.on = app, operation, True
        self.answer = status, page

    async def __call__(self, scope, receive, send):
        if self.on and scope["path"].endswith(self.operation):
            status, page = self.answer
            headers = [(b"content-type", b"text/html")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": page})
            return
        await self.app(scope, receive, send)
