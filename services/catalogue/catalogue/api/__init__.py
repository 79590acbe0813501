"""Door 1, HTTP: what everybody reads (public), and what editors write (authoring)."""

from catalogue.api import authoring, public

routers = [authoring.router, public.router]  # in this order: "drafts" is no slug
