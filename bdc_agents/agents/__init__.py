"""Agents: named LLMs with limits, retries, usage counts and a reply cache."""

from bdc_agents.agents.cache import ReplyCache
from bdc_agents.agents.chat import ChatAgent
from bdc_agents.agents.load import LoadedAgents, Ping, as_agents, load_agents, ping
from bdc_agents.agents.protocol import Agent, Reply, Request
from bdc_agents.agents.replies.reading import extract_code, normalise, parse_json

__all__ = [
    "Agent",
    "ChatAgent",
    "LoadedAgents",
    "Ping",
    "Reply",
    "ReplyCache",
    "Request",
    "as_agents",
    "extract_code",
    "load_agents",
    "normalise",
    "parse_json",
    "ping",
]
