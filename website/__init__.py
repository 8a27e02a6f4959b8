"""The documentation site: `python -m website` builds it into `build/docs/site`."""
