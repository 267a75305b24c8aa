"""Tests of the workbench; a test's name is the sentence it checks."""
