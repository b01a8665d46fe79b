"""What is secret never gets into the logs of explainer and scorer, however it is used, right or wrong."""

import asyncio
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from earwitness.cli.stack import Ports, Stack, StackSettings
from earwitness.client import ExplainerClient, Objective, RpcFailure, ScorerClient, Settings
from earwitness.client.sweep_values import SweepObjective, SweepPlan
from earwitness.client.sweeps import SweepClient
from tests.helpers.issuer import Issuer
from tests.helpers.tiny_bundle import write_tiny_bundle
from tests.integration.rpc.test_access import replace

SERVICES = ("explainer", "scorer")
OUR_TOKEN, EXPLAINERS_TOKEN = "a-token-of-the-file", "the-token-of-the-explainer"
PASSWORD, COLLECTOR_KEY = "the-password-of-the-database", "the-key-for-the-collector"


def configure(monkeypatch: pytest.MonkeyPatch, folder: Path, issuer: Issuer) -> Path:
    """Every kind of secret that the services take, in the environment of the stack; the token file."""
    tokens, own, keys = folder / "tokens", folder / "own", folder / "jwks.json"
    tokens.write_text(f"{OUR_TOKEN} admin\n{EXPLAINERS_TOKEN} read\n")
    own.write_text(f"{EXPLAINERS_TOKEN}\n")
    keys.write_text(json.dumps({"keys": [issuer.key_set]}))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer%20{COLLECTOR_KEY}")
    monkeypatch.setenv("EARWITNESS_EXPLAINER_SCORER_TOKEN_FILE", str(own))
    for service in SERVICES:
        for name, value in {
            "log_level": "DEBUG",
            "token_file": tokens,
            "jwt_jwks_file": keys,
            "jwt_issuer": "https://issuer.example",
            "jwt_audience": "earwitness",
        }.items():
            monkeypatch.setenv(f"EARWITNESS_{service.upper()}_{name.upper()}", str(value))
    return tokens


async def call_with(token: str, stack: Stack) -> None:
    """Of both services, which may refuse; the explainer asks the scorer with its own token."""
    objective = SweepObjective(Objective("fc3", 0), reference="nothing")
    async with (
        ExplainerClient(stack.endpoints.explainer, token=token) as explainer,
        SweepClient(stack.endpoints.explainer, token=token) as sweeps,
        ScorerClient(stack.endpoints.scorer, token=token) as scorer,
    ):
        plan = SweepPlan("tiny", [objective], [Settings(steps=2)], seed_count=2)
        for asked in (explainer.list_models(), scorer.list_references(), sweeps.create(plan)):
            with suppress(RpcFailure):
                await asked


async def complaint(service: str, url: str, folder: Path) -> str:
    """Of a service whose database cannot be used."""
    env = {**os.environ, f"EARWITNESS_{service.upper()}_DATABASE_URL": url}
    options = ("--port=0", "--metrics-port=0", f"--data-dir={folder}")
    command = (sys.executable, "-m", f"earwitness.{service}", *options)
    child = await asyncio.create_subprocess_exec(*command, env=env, stderr=asyncio.subprocess.PIPE)
    _, said = await child.communicate()
    assert child.returncode in (1, 2)
    return said.decode()


async def test_no_secret_is_logged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models = write_tiny_bundle(tmp_path / "models").repository
    issuer = Issuer(ec.generate_private_key(ec.SECP256R1()), "ES256", "one")
    tokens = configure(monkeypatch, tmp_path, issuer)
    sent = [OUR_TOKEN, "a-wrong-token", issuer.token(), issuer.token(exp=1)]
    nowhere = "http://127.0.0.1:1"
    settings = StackSettings(models, tmp_path / "data", "local", ports=Ports(0, 0, 0, 0, 0, 0), trace_endpoint=nowhere)
    async with Stack(settings) as stack:
        for token in sent:
            await call_with(token, stack)
        replace(tokens, f"{OUR_TOKEN} but wrong\n")
        await call_with(OUR_TOKEN, stack)
    logs = {service: (tmp_path / f"data/logs/{service}.log").read_text() for service in SERVICES}
    for service in SERVICES:
        for words in ("UNAUTHENTICATED", "OK by token-", "token_file", "spans batch"):
            assert words in logs[service], f"the {service} did not come to it"
        logs[f"{service} without a server"] = await complaint(
            service, f"postgresql+psycopg://user:{PASSWORD}@127.0.0.1:1/none", tmp_path
        )
        logs[f"{service} without a database"] = await complaint(
            service, f"oracle://user:{PASSWORD}@127.0.0.1:1/none", tmp_path
        )
    assert "references/nothing does not exist" in logs["explainer"], "which the scorer told it"
    for secret in (*sent, EXPLAINERS_TOKEN, PASSWORD, COLLECTOR_KEY):
        for part in secret.split("."):
            assert [name for name, text in logs.items() if part in text] == [], f"{part} is in a log"
