"""The checks: a folder for each profile, a file for each check; `check.catalogue` finds them."""
