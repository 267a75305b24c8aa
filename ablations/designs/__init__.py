"""Designs: which arms a study compares, generated from a few lines of its file."""
