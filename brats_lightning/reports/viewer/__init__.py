"""An interactive viewer of a case for pages: NiiVue, vendored, and what gives it its volumes."""
