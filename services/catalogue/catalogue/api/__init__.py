"""Door 1, HTTP: what everybody reads (public), and what editors write (authoring); programmes has both."""

from catalogue.api import authoring, programmes, public

routers = [authoring.router, public.router, programmes.router]  # in this order: "drafts" is no slug
