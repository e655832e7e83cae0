"""``sessiond bench``: whole calls against a running service, and how long each request of them takes."""
