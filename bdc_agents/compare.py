"""The old name of `bdc_agents.evaluate.library`, where the ways to use a library's experts are compared."""

from bdc_agents.evaluate import library
from bdc_agents.extras import lazily

__getattr__ = lazily(__name__, {}, dict.fromkeys(library.__all__, "evaluate.library"))
