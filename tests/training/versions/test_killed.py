"""A promotion whose process is killed (SIGKILL) before or after any write, then reconciled."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from training.release import ledger
from training.release.ledger import PlannedPromotion
from training.release.promote import promote
from training.release.reconcile import reconcile

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
MODELS = ("recommendation", "difficulty")

PROMOTER = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from sensei.events.log import Log, open_log
from training.release import ledger
from training.release.ledger import PlannedPromotion
from training.release.promote import promote
from training.tracking.registry import Registry

WRITES = {
    "line": (ledger, "open_lines", 0), "pointer": (Log, "set_pointer", 0),
    "first-alias": (MlflowClient, "set_registered_model_alias", 0),
    "second-alias": (MlflowClient, "set_registered_model_alias", 1),
    "done": (ledger, "close_lines", 0),
}

def deadly(write, when):
    target, name, place = WRITES[write]
    real, calls = getattr(target, name), []
    def killed(*given, **named):
        calls.append(name)
        if when == "before" and len(calls) > place:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*given, **named)
        if len(calls) > place:
            os.kill(os.getpid(), signal.SIGKILL)
    setattr(target, name, killed)

def promoted(url, uri, folder, write, when, *moves):
    deadly(write, when)
    asked = [PlannedPromotion(*each.split(":")) for each in moves]
    registry = Registry(uri, Path(folder))
    promote(open_log(url), registry, Path(folder), asked, "gate", datetime.now(UTC))

for line in sys.stdin:  # each promotion in a process of its own, without importing all anew
    child = os.fork()
    if not child:
        promoted(*line.split())
        os._exit(0)
    print(os.WTERMSIG(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_after_a_kill_anywhere_ledger_pointer_and_aliases_agree(kept, log_url):
    versions = [{model: kept.version(model) for model in MODELS} for _ in range(2)]
    first = [PlannedPromotion(model, None, version) for model, version in versions[0].items()]
    promote(kept.log, kept.registry, kept.folder, first, "gate", NOW)
    champions, successors = versions
    with subprocess.Popen(
        [sys.executable, "-c", PROMOTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as promoter:
        for write in ("line", "pointer", "first-alias", "second-alias", "done"):
            for moment in ("before", "after"):
                moves = [f"{model}:{champions[model]}:{successors[model]}" for model in MODELS]
                uri, folder = kept.registry.tracking_uri, kept.folder
                print(log_url, uri, folder, write, moment, *moves, file=promoter.stdin, flush=True)
                assert promoter.stdout.readline() == "9\n", (write, moment)
                lines = len(ledger.read(kept.log))
                reconcile(kept.log, kept.registry, kept.folder, NOW)
                if (write, moment) != ("line", "before"):
                    champions, successors = successors, champions
                assert kept.agree() == champions, (write, moment)
                assert len(ledger.read(kept.log)) == lines
        promoter.stdin.close()
    assert len(ledger.read(kept.log)) == 2 + 2 * 9
