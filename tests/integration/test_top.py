"""`top` at two sizes, on a daemon that answers without Ray, driven as by hand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from gpujobs.cli.commands.top import drawing
from gpujobs.client import connect
from gpujobs.config.settings import Settings
from gpujobs.daemon import server
from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.main import Mode, prepare_state
from gpujobs.model import Caller, Device, DeviceKind, Node, NodeStatus, Process, State, utc_now
from gpujobs.paths import StatePaths
from gpujobs.top.app import Top
from gpujobs.top.queue import Queue
from gpujobs.top.screens import Confirm, WholeLog
from tests.unit.store.jobs import having, new_job
