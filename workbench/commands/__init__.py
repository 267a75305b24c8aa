"""The commands of `workbench`. Heavy packages are imported inside the functions that need them."""
