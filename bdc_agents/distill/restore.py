"""Other libraries change a model that they are given; here it comes back as it was."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def restored(model: Any) -> Iterator[None]:
    """Gives the model back as it was: peft and TRL freeze it, set attributes, and leave some behind."""
    trainable = {name: p.requires_grad for name, p in model.named_parameters()}
    training, attributes = model.training, set(vars(model))
    configs = [one for one in (model.config, getattr(model, "generation_config", None)) if one is not None]
    before = [copy.deepcopy(vars(one)) for one in configs]
    try:
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(trainable.get(name, False))
        for name in vars(model).keys() - attributes:
            delattr(model, name)
        for one, values in zip(configs, before, strict=True):
            # In place, since the layers hold the same object.
            vars(one).clear()
            vars(one).update(values)
        model.train(training)
