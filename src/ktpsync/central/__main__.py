"""``python -m ktpsync.central`` prints the OpenAPI document, as ``docs/reference/central-api.openapi.json`` has it."""

from __future__ import annotations

import sys

from ktpsync.central import openapi_text

sys.stdout.write(openapi_text())
