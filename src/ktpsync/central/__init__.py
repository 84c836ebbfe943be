"""A sandbox of the central service: for development, tests and demonstrations.

The real centre's interface is not public. This one is ktpsync's own proposal, and this is its reference
implementation: it stores durably before it answers, opens packets with its own identity, finds people who
are recorded twice, and tells statuses as offices know them.
"""

from __future__ import annotations

from ktpsync.central._app import create_app
from ktpsync.central._openapi import openapi, openapi_text
from ktpsync.central._serve import running, serve
from ktpsync.central._settings import CentralSettings, OAuthClient, Tls

__all__ = [
    "CentralSettings",
    "OAuthClient",
    "Tls",
    "create_app",
    "openapi",
    "openapi_text",
    "running",
    "serve",
]
