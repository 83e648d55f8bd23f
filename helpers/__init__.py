"""Plumbing of the skin-lesion course: the notebooks tell the story, these modules carry the files and tables."""
