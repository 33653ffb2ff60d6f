"""One file per library that runs models; `models.loader` picks among them by name."""
