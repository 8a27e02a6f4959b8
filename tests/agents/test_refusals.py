"""What an error says is read from any value, and a word is no parameter because it is spelled like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdc_agents.agents.failures import Endpoint, diagnose
from bdc_agents.agents.refusals import highest_allowed, mentions, read, room_in_context

KEYS = st.sampled_from(
    ["error", "message", "detail", "loc", "msg", "param", "raw", "metadata", "retryDelay", "x"]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=30,
)


@given(anything, st.text(max_size=60), st.integers(-1, 10**6))
def test_nothing_that_is_sent_raises(body, text, limit):
    said = read(body)
    assert all(isinstance(name, str) for name in said.named)
    mentions(said.text + text, "seed")
    room_in_context(text)
    highest_allowed(text, limit, 16)


@pytest.mark.parametrize(
    "text", ["[" * 10**5, '{"error": ' * 10**4, "<title" * 10**5, " " * 10**6 + "{}", "9" * 10**5]
)
def test_no_length_of_it_takes_long(text):
    said = read({"error": {"message": text}})
    assert len(said.text) <= 20_000
    assert highest_allowed(text, 100, 16) is None
    assert not mentions(text, "seed")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("seed", "the seed of doubt was sown"),
        ("stop", "please stop sending so many requests"),
        ("n", "n requests in a minute are too many"),
        ("reasoning", "your reasoning was flagged"),
        ("max_tokens", "the quota max_tokens_total is used up"),
        ("temperature", "options.temperature_unit is unknown"),
        ("store", "the vector store cannot be reached"),
        ("stop", "such requests are not accepted: stop sending them"),
        ("seed", "Unknown parameter: 'foo'; supported parameters: model, seed"),
    ],
)
def test_a_word_is_not_a_parameter(name, text):
    assert not mentions(text, name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("seed", "Unknown parameter: 'seed'"),
        ("seed", "`seed` is not supported"),
        ("seed", "seed: Extra inputs are not permitted"),
        ("seed", "does not support parameters: ['seed']"),
        ("seed", "This model does not support seed"),
        ("seed", "Unrecognized request argument supplied: seed"),
        ("seed", "Unrecognized request arguments supplied: stop, seed, n"),
        ("seed", "Unrecognized request argument supplied: seed (Request ID: 1)"),
        ("seed", "unsupported parameter(s): seed"),
        ("seed", "Argument not supported: seed"),
        ("seed", "extra fields not permitted: seed"),
        ("seed", "Unrecognized keys: seed"),
        ("seed", "The following parameters are not supported: stop, seed."),
        ("seed", "The seed parameter is not supported"),
        ("seed", "property seed should not exist"),
        ("n", "'n' must be 1"),
        ("stop", "parameter stop is not supported"),
        ("top_p", "top_p must be 1"),
        ("temperature", "Only temperature=1 is allowed"),
    ],
)
def test_a_parameter_is_known_in_a_sentence(name, text):
    assert mentions(text, name)


def test_a_message_holds_nothing_that_a_terminal_obeys():
    told = diagnose(ValueError({"message": "\x1b[31mred\x1b]0;title\x07\n\u202eabc"})).explain(Endpoint("m"))
    assert told.isprintable()
    assert "red" in told


def test_a_status_that_a_gateway_sends_as_a_text_is_one():
    failure = diagnose(ValueError({"message": "slow down", "code": "429"}))
    assert (failure.status, failure.passing) == (429, True)
    assert diagnose(ValueError({"message": "no", "code": "model_not_found"})).status is None
