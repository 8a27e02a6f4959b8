# ruff: noqa: E501 - what servers say, in the length in which they say it
"""How real endpoints refuse, fail and answer: from their documentation and from reports of their users."""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Refusal:
    """A parameter that an endpoint does not take.

    Args:
        server: Whose shape it is.
        taken: Parameters of the body that are refused together.
        body: What is sent: JSON, or text as it is.
        options: Settings under which the parameter is sent.
        instead: Parameters that are sent in its place.
    """

    server: str
    taken: tuple[str, ...]
    body: Any
    status: int = 400
    options: dict[str, Any] = field(default_factory=dict)
    instead: tuple[str, ...] = ()


def openai(message: str, **fields: Any) -> dict[str, Any]:
    return {
        "error": {"message": message, "type": "invalid_request_error", "param": None, "code": None} | fields
    }


def extra(*names: str) -> list[dict[str, Any]]:
    """FastAPI's and Mistral's list of what is wrong."""
    told = {"type": "extra_forbidden", "msg": "Extra inputs are not permitted", "input": 7}
    return [told | {"loc": ["body", name]} for name in names]


NOT_MAX = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
NO_TEMPERATURE = "Unsupported parameter: 'temperature' is not supported with this model."
ONLY_DEFAULT = "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value is supported."
BOTH = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
LITELLM_SEED = (
    "litellm.UnsupportedParamsError: anthropic does not support parameters: ['seed'], for model=claude-3-7-sonnet. "
    "To drop these, set `litellm.drop_params=True` or for proxy:\n\n`litellm_settings:\n drop_params: true`\n. \n If "
    "you want to use these params dynamically send allowed_openai_params=['seed'] in your request."
)
GOOGLE_UNKNOWN = 'Invalid JSON payload received. Unknown name "{}": Cannot find field.'


def google(*names: str) -> list[dict[str, Any]]:
    told = [GOOGLE_UNKNOWN.format(name) for name in names]
    details = {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"description": text} for text in told],
    }
    return [
        {
            "error": {
                "code": 400,
                "message": "\n".join(told),
                "status": "INVALID_ARGUMENT",
                "details": [details],
            }
        }
    ]


REFUSALS = [
    Refusal(
        "openai",
        ("max_tokens",),
        openai(NOT_MAX, param="max_tokens", code="unsupported_parameter"),
        instead=("max_completion_tokens",),
    ),
    Refusal("openai", ("temperature",), openai(ONLY_DEFAULT, param="temperature", code="unsupported_value")),
    Refusal(
        "openai",
        ("stop",),
        openai("Unsupported parameter: 'stop' is not supported with this model.", param="stop"),
        options={"stop": ["END"]},
    ),
    Refusal(
        "openai",
        ("logprobs",),
        openai("'logprobs' is not allowed for this model", param="logprobs"),
        options={"logprobs": True},
    ),
    Refusal(
        "openai",
        ("reasoning_effort",),
        openai("Unrecognized request argument supplied: reasoning_effort"),
        options={"reasoning_effort": "low"},
    ),
    Refusal("openai", ("seed",), openai("Unrecognized request argument supplied: seed")),
    Refusal(
        "azure",
        ("max_tokens",),
        openai(
            NOT_MAX,
            param="max_tokens",
            code="unsupported_parameter",
            callstack=' File "/usr/local/bin/gunicorn", line 8',
        ),
        instead=("max_completion_tokens",),
    ),
    Refusal(
        "anthropic",
        ("seed",),
        {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "seed: Extra inputs are not permitted"},
            "request_id": "req_1",
        },
    ),
    Refusal(
        "anthropic",
        ("top_p",),
        {"type": "error", "error": {"type": "invalid_request_error", "message": BOTH}, "request_id": "req_1"},
        options={"top_p": 0.9},
    ),
    Refusal(
        "mistral",
        ("seed",),
        {
            "object": "error",
            "message": {"detail": extra("seed")},
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        },
        422,
    ),
    Refusal(
        "mistral",
        ("seed",),
        {
            "object": "Error",
            "detail": extra("seed"),
            "message": extra("seed"),
            "type": "invalid_request_error",
            "code": 3001,
        },
        422,
    ),
    Refusal(
        "mistral",
        ("seed", "presence_penalty"),
        {"detail": extra("presence_penalty", "seed")},
        422,
        {"presence_penalty": 0.1},
    ),
    Refusal(
        "mistral",
        ("frequency_penalty",),
        {
            "object": "error",
            "message": json.dumps({"detail": extra("frequency_penalty")}),
            "type": "internal_error_proxy",
            "param": None,
            "code": "1000",
        },
        422,
        {"frequency_penalty": 0.1},
    ),
    Refusal(
        "mistral",
        ("seed",),
        {"error": {"code": "Invalid input", "message": json.dumps({"detail": extra("seed")})}},
        422,
    ),
    Refusal("gemini", ("seed",), google("seed")),
    Refusal(
        "gemini",
        ("seed", "frequency_penalty"),
        google("frequency_penalty", "seed"),
        options={"frequency_penalty": 0.1},
    ),
    Refusal(
        "openrouter",
        ("temperature",),
        {
            "error": {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {
                    "raw": json.dumps(openai(NO_TEMPERATURE, param="temperature"), indent=2),
                    "provider_name": "OpenAI",
                },
            },
            "user_id": "user_1",
        },
    ),
    Refusal(
        "ollama",
        ("reasoning_effort",),
        openai('think value "medium" is not supported for this model', type="api_error"),
        options={"reasoning_effort": "medium"},
    ),
    Refusal(
        "ollama",
        ("reasoning_effort",),
        openai('"llama3.1:8b" does not support thinking'),
        options={"reasoning_effort": "high"},
    ),
    Refusal(
        "vllm",
        ("seed",),
        {
            "object": "error",
            "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not permitted', 'input': 7}]",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
    ),
    Refusal(
        "vllm",
        ("logprobs",),
        {
            "error": {
                "message": "logprobs is not supported by this engine",
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            }
        },
        options={"logprobs": True},
    ),
    Refusal(
        "llama.cpp",
        ("seed",),
        {"error": {"code": 500, "message": 'Unsupported param: "seed"', "type": "server_error"}},
        500,
    ),
    Refusal(
        "llama.cpp",
        ("n",),
        {
            "error": {
                "code": 400,
                "message": "Only one completion choice is allowed: 'n' must be 1",
                "type": "invalid_request_error",
            }
        },
        options={"n": 2},
    ),
    Refusal("lmstudio", ("seed",), {"error": "Unrecognized key(s) in object: 'seed'"}),
    Refusal("litellm", ("seed",), openai(LITELLM_SEED, type=None, code="400")),
    Refusal(
        "litellm",
        ("seed",),
        openai(
            "ollama does not support parameters: {'seed': 1}, for model=llama3:latest. To drop these, set `litellm.drop_params=True`",
            type=None,
            code=500,
        ),
        500,
    ),
    Refusal(
        "litellm",
        ("temperature",),
        openai(
            "litellm.BadRequestError: OpenrouterException - Message: Provider returned error, Metadata: {'raw': '{\\n \"error\": {\\n \"message\": \"Unsupported parameter: \\'temperature\\' is not supported with this model.\"}}', 'provider_name': 'OpenAI'}",
            type=None,
            code="400",
        ),
    ),
    Refusal(
        "litellm",
        ("top_p",),
        openai(
            "litellm.BadRequestError: AnthropicException - b'"
            + json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": BOTH}})
            + "'. Received Model Group=x",
            code="400",
        ),
        options={"top_p": 0.5},
    ),
    Refusal(
        "gateway",
        ("temperature",),
        {
            "error": {
                "cause": json.dumps(openai(ONLY_DEFAULT, param="temperature")),
                "code": 400,
                "message": "模型服务调用失败",
                "status": "FAILED_RESPONSE",
            },
            "requestId": "x",
            "result": None,
        },
    ),
    Refusal(
        "gateway",
        ("max_tokens",),
        {
            "detail": "Error executing transformation: Error code: 400 - {'error': {'message': \""
            + NOT_MAX
            + "\", 'param': 'max_tokens', 'code': 'unsupported_parameter'}}"
        },
        500,
        instead=("max_completion_tokens",),
    ),
    Refusal(
        "fastapi",
        ("seed",),
        {
            "detail": [
                {"loc": ["body", "seed"], "msg": "extra fields not permitted", "type": "value_error.extra"}
            ]
        },
        422,
    ),
    Refusal("plain text", ("seed",), "unknown field `seed`, expected one of `model`, `messages`", 422),
    Refusal(
        "html",
        ("seed",),
        "<html><head><title>400 Bad Request</title></head><body><h1>Unknown parameter: seed</h1></body></html>",
    ),
]

NO_JSON = [
    (
        "openai",
        400,
        openai(
            "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
            param="response_format",
        ),
    ),
    (
        "azure",
        400,
        openai(
            "response_format value as json_schema is enabled only for api versions 2024-08-01-preview and later",
            code="BadRequest",
        ),
    ),
    (
        "mistral",
        422,
        {
            "detail": [
                {
                    "type": "literal_error",
                    "loc": ["body", "response_format", "type"],
                    "msg": "Input should be 'text' or 'json_object'",
                    "input": "json_schema",
                }
            ]
        },
    ),
    (
        "gemini",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "Invalid JSON payload received. Unknown name \"additionalProperties\" at 'generation_config.response_schema': Cannot find field.",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
    ),
    ("ollama", 500, openai("failed to load model vocabulary required for format: grammar", type="api_error")),
    (
        "vllm",
        400,
        {
            "object": "error",
            "message": "The provided JSON schema contains features not supported by xgrammar.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
    ),
    (
        "vllm",
        500,
        {
            "object": "error",
            "message": "Guided decoding failed: unsupported json_schema",
            "type": "InternalServerError",
            "param": None,
            "code": 500,
        },
    ),
    (
        "llama.cpp",
        500,
        {
            "error": {
                "code": 500,
                "message": "JSON schema conversion failed:\nUnrecognized schema",
                "type": "server_error",
            }
        },
    ),
    (
        "llama.cpp",
        400,
        {
            "error": {
                "code": 400,
                "message": "Failed to initialize samplers: failed to parse grammar",
                "type": "invalid_request_error",
            }
        },
    ),
    (
        "llama.cpp",
        501,
        {
            "error": {
                "code": 501,
                "message": "This server does not support response_format",
                "type": "not_supported_error",
            }
        },
    ),
    ("lmstudio", 400, {"error": "'response_format.type' must be 'text'"}),
    (
        "litellm",
        400,
        openai(
            "litellm.UnsupportedParamsError: ollama does not support parameters: ['response_format'], for model=x",
            code="400",
        ),
    ),
    (
        "openrouter",
        200,
        {
            "error": {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {"raw": "json_schema is not supported"},
            }
        },
    ),
]

LIMITS = [
    (
        "openai",
        16384,
        openai(
            "max_tokens is too large: 32768. This model supports at most 16384 completion tokens, whereas you provided 32768.",
            param="max_tokens",
            code="invalid_value",
        ),
    ),
    (
        "anthropic",
        8192,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "max_tokens: 32768 > 8192, which is the maximum allowed number of output tokens for claude-3-5-sonnet-20241022",
            },
        },
    ),
    ("deepseek", 8192, openai("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]")),
    (
        "groq",
        8192,
        openai(
            "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the `context_window` for this model",
            param="max_tokens",
        ),
    ),
]

CONTEXTS = [
    (
        "vllm",
        4086,
        {
            "object": "error",
            "message": "'max_tokens' or 'max_completion_tokens' is too large: 32768. This model's maximum context length is 4096 tokens and your request has 10 input tokens (32768 > 4096 - 10). None",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
    ),
    (
        "openai",
        8134,
        openai(
            "This model's maximum context length is 8192 tokens. However, you requested 32826 tokens (58 in the messages, 32768 in the completion). Please reduce the length of the messages or completion.",
            param="messages",
            code="context_length_exceeded",
        ),
    ),
]

# How a server tells what the model has thought beside its answer, and an answer of thoughts alone.
THOUGHTS: dict[str, dict[str, Any]] = {
    "deepseek, vllm, llama.cpp": {"content": "so", "reasoning_content": "why"},
    "openrouter, ollama, lmstudio": {"content": "so", "reasoning": "why"},
    "openrouter": {
        "content": "so",
        "reasoning": "why",
        "reasoning_details": [{"type": "reasoning.text", "text": "why", "format": "anthropic-claude-v1"}],
    },
    "litellm": {
        "content": "so",
        "reasoning_content": "why",
        "thinking_blocks": [{"type": "thinking", "thinking": "why", "signature": "x"}],
    },
    "mistral": {
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "why"}]},
            {"type": "text", "text": "so"},
        ]
    },
    "anthropic": {
        "content": [{"type": "thinking", "thinking": "why", "signature": "x"}, {"type": "text", "text": "so"}]
    },
}
ALONE: dict[str, dict[str, Any]] = {
    "deepseek, vllm, llama.cpp": {"content": None, "reasoning_content": "so"},
    "openrouter, ollama, lmstudio": {"content": "", "reasoning": "so"},
    "a list": {"content": None, "reasoning": [{"type": "text", "text": "so"}]},
    "mistral": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "so"}]}]},
    "anthropic": {"content": [{"type": "thinking", "thinking": "so", "signature": "x"}]},
    "v1": {"content": [{"type": "reasoning", "reasoning": "so"}]},
}

# What is said of a rate limit: status, headers, body, and the seconds that it asks to wait.
RATE_LIMITS: list[tuple[str, int, dict[str, str], Any]] = [
    (
        "openai",
        429,
        {"retry-after": "0.2"},
        openai("Rate limit reached for gpt-4o", type="requests", code="rate_limit_exceeded"),
    ),
    (
        "azure",
        429,
        {"retry-after-ms": "200"},
        {
            "error": {
                "code": "429",
                "message": "Requests to the ChatCompletions_Create Operation have exceeded call rate limit.",
            }
        },
    ),
    (
        "anthropic",
        429,
        {"retry-after": "0.2"},
        {
            "type": "error",
            "error": {"type": "rate_limit_error", "message": "This request would exceed your rate limit"},
        },
    ),
    (
        "gemini",
        429,
        {},
        [
            {
                "error": {
                    "code": 429,
                    "message": "You exceeded your current quota.",
                    "status": "RESOURCE_EXHAUSTED",
                    "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.2s"}],
                }
            }
        ],
    ),
    (
        "litellm",
        429,
        {"retry-after": "0.2"},
        openai(
            "litellm.RateLimitError: No deployments available for selected model", type="None", code="429"
        ),
    ),
    ("mistral", 429, {"retry-after": "0.2"}, {"message": "Requests rate limit exceeded"}),
]

# Failures that no other try changes, and a word that the message must hold.
ERRORS: list[tuple[str, int, Any, str]] = [
    (
        "openai",
        401,
        openai("Incorrect API key provided: sk-ab***xy.", code="invalid_api_key"),
        "Incorrect API key",
    ),
    (
        "azure",
        404,
        {
            "error": {
                "code": "DeploymentNotFound",
                "message": "The API deployment for this resource does not exist.",
            }
        },
        "deployment for this resource",
    ),
    (
        "azure",
        400,
        {
            "error": {
                "code": "content_filter",
                "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
                "param": "prompt",
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        },
        "content management policy",
    ),
    (
        "anthropic",
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "Your credit balance is too low to access the Anthropic API.",
            },
        },
        "credit balance",
    ),
    ("deepseek", 402, openai("Insufficient Balance", type="unknown_error"), "no credit left"),
    (
        "gemini",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "API key not valid. Please pass a valid API key.",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
        "API key not valid",
    ),
    ("ollama", 404, openai("model 'nope' not found", code="not_found"), "'nope' not found"),
    ("lmstudio", 404, {"error": {"message": 'Model "nope" not found'}}, "not found"),
    (
        "vllm",
        404,
        {
            "object": "error",
            "message": "The model `nope` does not exist.",
            "type": "NotFoundError",
            "param": None,
            "code": 404,
        },
        "does not exist",
    ),
    ("fastapi", 404, {"detail": "Not Found"}, "Not Found"),
    (
        "llama.cpp",
        400,
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size. try increasing the context size",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 14429,
                "n_ctx": 8192,
            }
        },
        "available context size",
    ),
    (
        "openrouter",
        402,
        {"error": {"code": 402, "message": "This request requires more credits"}},
        "requires more credits",
    ),
    (
        "nginx",
        413,
        "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>\r\n<center><h1>413 Request Entity Too Large</h1></center></body></html>",
        "413 Request Entity Too Large",
    ),
    (
        "mistral",
        422,
        {
            "object": "error",
            "message": {
                "detail": [
                    {
                        "type": "string_too_long",
                        "loc": ["body", "messages", 0, "content"],
                        "msg": "String should have at most 10 characters",
                    }
                ]
            },
        },
        "messages.0.content: String should have",
    ),
]
