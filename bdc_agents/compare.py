"""The old name of `bdc_agents.evaluate.library`, which compares the ways to use a library's experts."""

from bdc_agents.evaluate import library
from bdc_agents.extras import lazily

__getattr__ = lazily(__name__, {}, dict.fromkeys(library.__all__, "evaluate.library"))
