"""What the gateway shows of the platform: the merged OpenAPI document, its front page, a page for each problem."""
