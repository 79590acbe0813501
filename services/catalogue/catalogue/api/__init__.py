"""The HTTP API: what everybody reads (public) and what editors write (authoring); programmes has both."""

from catalogue.api import authoring, programmes, public

routers = [authoring.router, public.router, programmes.router]  # authoring first: "drafts" is not matched as a slug
