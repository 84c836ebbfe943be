"""The command group."""

from __future__ import annotations

import click

from ktpsync.cli._audit import audit
from ktpsync.cli._backup import backup
from ktpsync.cli._central import central
from ktpsync.cli._config import config
from ktpsync.cli._deliver import reconcile, run, sync
from ktpsync.cli._demo import demo
from ktpsync.cli._destination import destination, resume
from ktpsync.cli._disk import disk
from ktpsync.cli._doctor import doctor
from ktpsync.cli._keys import keys, rewrap
from ktpsync.cli._packets import cancel, handled, packets, rejected, requeue, requeue_rejected
from ktpsync.cli._plugins import plugins
from ktpsync.cli._recover import extract, restore
from ktpsync.cli._setup import init, keygen
from ktpsync.cli._status import status
from ktpsync.cli._submit import submit
from ktpsync.cli._verify import verify


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="ktpsync")
def main() -> None:
    """Record e-KTP enrolments through outages, and lose none.

    Exit codes: 0 done; 1 failed; 2 wrong usage; 3 work is left for later; 4 a person must look;
    5 damage was found; 6 the records or settings given have problems.
    """


for _command in (
    init,
    keygen,
    keys,
    rewrap,
    disk,
    submit,
    sync,
    run,
    status,
    packets,
    rejected,
    requeue,
    requeue_rejected,
    cancel,
    handled,
    destination,
    resume,
    reconcile,
    backup,
    verify,
    extract,
    restore,
    audit,
    doctor,
    config,
    plugins,
    central,
    demo,
):
    main.add_command(_command)
