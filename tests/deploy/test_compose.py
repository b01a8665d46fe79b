"""deploy/compose.yaml without a container engine: its schema, its references, and its services as local processes."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from earwitness.client import ExplainerClient, Objective, ScorerClient, Search, Settings
from earwitness.explainer.settings import ExplainerSettings
from earwitness.inference.triton_install import fetch_tritonserver
from earwitness.inference.tritonserver import TritonServer
from earwitness.rpc.settings import ServerSettings
from earwitness.scorer.settings import ScorerSettings
from tests.deploy.chart import ROOT, tool
from tests.deploy.images import DOCKER, instructions, stages
from tests.deploy.running import free_port, start
from tests.helpers.postgresql import PostgresServer
from tests.helpers.tiny_bundle import write_tiny_bundle

FILE = ROOT / "deploy/compose.yaml"
COMPOSE = yaml.safe_load(FILE.read_text())
SERVICES: Mapping[str, Any] = COMPOSE["services"]
BAKE = json.loads((DOCKER / "bake.json").read_text())["target"]
SETTINGS: dict[str, type[ServerSettings]] = {"explainer": ExplainerSettings, "scorer": ScorerSettings}
OWN = {"triton", "explainer", "explainer-migration", "scorer", "scorer-migration"}
PATIENCE_S = 300.0
SECRET = {"EARWITNESS_DATABASE_PASSWORD": "0123456789abcdef"}


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """Variables substituted as by Compose. Raises: KeyError with the words after `:?` if a required one is missing."""

    def value(found: re.Match[str]) -> str:
        name, words = found["name"], found["words"]
        if words is not None and not variables.get(name):
            raise KeyError(words)
        return variables.get(name, "")

    return re.sub(r"\$\{(?P<name>\w+)(:\?(?P<words>[^}]*))?\}", value, text)


def environment(service: str, variables: Mapping[str, str] = SECRET) -> dict[str, str]:
    """What a service's container gets."""
    given = SERVICES[service].get("environment", {})
    return {name: interpolated(value, variables) for name, value in given.items()}


def test_the_schema_of_compose_takes_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, FILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    wrong = {**COMPOSE, "services": {**SERVICES, "scorer": {**SERVICES["scorer"], "command_line": []}}}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong))
    done = subprocess.run([*command, tmp_path / "wrong.yaml"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "'command_line'" in done.stdout


def test_images_are_those_that_bake_builds() -> None:
    for name in OWN:
        image = SERVICES[name]["image"]
        (target,) = [each for each, described in BAKE.items() if described["tags"] == [image]]
        build = SERVICES[name]["build"]
        assert (build["dockerfile"], build["target"]) == (BAKE[target]["dockerfile"], BAKE[target]["target"])
        assert (FILE.parent / build["context"]).resolve() == ROOT
    assert {SERVICES[name]["image"] for name in OWN} == {
        BAKE[name]["tags"][0] for name in ("triton", "explainer", "scorer")
    }
    for name in SERVICES.keys() - OWN:
        assert re.search(r":v?\d+\.\d+[\w.-]*$", SERVICES[name]["image"]), "pinned"


def test_ports_are_the_images_and_open_to_this_host_alone() -> None:
    own = {**stages("python.Dockerfile"), **stages("triton.Dockerfile")}
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            address, outside, inside = port.split(":")
            assert (address, outside) == ("127.0.0.1", inside)
            if name in SETTINGS:
                (exposed,) = instructions(own[name], "EXPOSE")
                assert inside in exposed.split()
    published = [port.split(":")[1] for service in SERVICES.values() for port in service.get("ports", [])]
    assert sorted(published) == ["3000", "50051", "50052", "9090"]


def test_what_is_referred_to_is_there() -> None:
    for name, service in SERVICES.items():
        depends = service.get("depends_on", {})
        for other in depends:
            assert other in SERVICES
            condition = depends[other]["condition"] if isinstance(depends, dict) else ""
            assert condition != "service_healthy" or "healthcheck" in SERVICES[other], f"{name} waits for {other}"
        for config in service.get("configs", []):
            assert config["source"] in COMPOSE["configs"]
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in COMPOSE["volumes"]
    used = {config["source"] for service in SERVICES.values() for config in service.get("configs", [])}
    assert used == COMPOSE["configs"].keys()
    for config in COMPOSE["configs"].values():
        file = FILE.parent / config.get("file", FILE.name)
        assert file.is_file()
        assert not file.is_symlink()


def test_processes_are_locked_down() -> None:
    for name, service in SERVICES.items():
        assert "no-new-privileges:true" in service["security_opt"]
        assert "privileged" not in service
        if name != "postgresql":  # whose entry point changes the user, and owns its folder
            assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])


def test_every_variable_is_a_setting_that_the_service_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OWN - {"triton"}:
        service = name.removesuffix("-migration")
        kind = SETTINGS[service]
        given = environment(name)
        assert set(given) <= {f"{kind.model_config['env_prefix']}{field.upper()}" for field in kind.model_fields}
        with monkeypatch.context() as patch:
            for variable, value in given.items():
                patch.setenv(variable, value)
            settings = kind()
        if name in SETTINGS:
            assert settings.host == "0.0.0.0"
            assert f"127.0.0.1:{settings.port}:{settings.port}" in SERVICES[name]["ports"]
            grace_s = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
            assert grace_s >= settings.drain_notice_s + settings.drain_s + 10


def test_a_missing_password_is_asked_for() -> None:
    with pytest.raises(KeyError, match="letters and digits"):
        environment("scorer", {})
    assert environment("postgresql")["POSTGRES_PASSWORD"] == SECRET["EARWITNESS_DATABASE_PASSWORD"]


def test_prometheus_scrapes_what_the_services_export(tmp_path: Path) -> None:
    config = COMPOSE["configs"]["prometheus"]["content"]
    (tmp_path / "prometheus.yml").write_text(config)
    (tmp_path / "rules.yaml").write_text((FILE.parent / COMPOSE["configs"]["rules"]["file"]).read_text())
    done = subprocess.run(
        [tool("promtool"), "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    local = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())
    scraped = {
        each["job_name"]: each["static_configs"][0]["targets"] for each in yaml.safe_load(config)["scrape_configs"]
    }
    assert scraped.keys() == {each["job_name"] for each in local["scrape_configs"]}
    for job, (target,) in scraped.items():
        name, port = target.split(":")
        assert job == f"earwitness-{name}"
        if name in SETTINGS:
            assert environment(name)[f"EARWITNESS_{name.upper()}_METRICS_PORT"] == port
    provided = yaml.safe_load(COMPOSE["configs"]["datasource"]["content"])["datasources"]
    assert [each["url"] for each in provided] == ["http://prometheus:9090"]


def test_grafana_gets_every_dashboard() -> None:
    mounted = {each["target"]: each["source"] for each in SERVICES["grafana"]["configs"]}
    folder = yaml.safe_load(COMPOSE["configs"]["provider"]["content"])["providers"][0]["options"]["path"]
    files = {target: COMPOSE["configs"][source].get("file", "") for target, source in mounted.items()}
    assert {file for target, file in files.items() if target.startswith(f"{folder}/")} == {
        path.resolve().relative_to(FILE.parent).as_posix() for path in (ROOT / "deploy/grafana").glob("*.json")
    }


@asynccontextmanager
async def service(name: str, env: dict[str, str]) -> AsyncIterator[None]:
    """A service as its container runs it, once its own health check is content."""
    (entry,) = instructions(stages("python.Dockerfile")[name], "ENTRYPOINT")
    process = await start(*json.loads(entry), env=env)
    check = SERVICES[name]["healthcheck"]["test"]
    health = f"127.0.0.1:{env[f'EARWITNESS_{name.upper()}_HEALTH_PORT']}"
    assert check[0] == "CMD"
    try:
        async with asyncio.timeout(PATIENCE_S):
            while await (await start(*check[1:-1], health, env={})).wait():
                assert process.returncode is None, f"the {name} ended with {process.returncode}"
                await asyncio.sleep(0.5)
        yield
    finally:
        process.terminate()
        await process.wait()


async def test_its_services_run_and_find_each_other(postgresql: PostgresServer, tmp_path: Path) -> None:
    """With Compose's names, ports and database replaced by this machine's: migrations, health checks, a search."""
    write_tiny_bundle(tmp_path / "models")
    url = postgresql.create_database()
    ports = {name: {kind: free_port() for kind in ("", "METRICS_", "HEALTH_")} for name in SETTINGS}

    def here(name: str, triton: str) -> dict[str, str]:
        base = name.removesuffix("-migration")
        prefix = f"EARWITNESS_{base.upper()}_"
        said = {"triton:8001": triton, "scorer:50052": f"127.0.0.1:{ports['scorer']['']}", "0.0.0.0": "127.0.0.1"}
        env = {key: said.get(value, value) for key, value in environment(name).items()}
        assert env[f"{prefix}DATABASE_URL"].endswith("@postgresql:5432/earwitness")
        env[f"{prefix}DATABASE_URL"] = url
        if name == base:
            assert env[f"{prefix}HEALTH_PORT"] == SERVICES[name]["healthcheck"]["test"][-1].partition(":")[2]
            env |= {f"{prefix}{kind}PORT": str(port) for kind, port in ports[name].items()}
        return env

    async with TritonServer(fetch_tritonserver(), tmp_path / "models") as triton, AsyncExitStack() as opened:
        for name in ("scorer", "explainer"):
            migration = f"{name}-migration"
            command = [sys.executable, "-m", f"earwitness.{name}", *SERVICES[migration]["command"]]
            assert await (await start(*command, env=here(migration, triton.grpc_url))).wait() == 0
            await opened.enter_async_context(service(name, here(name, triton.grpc_url)))
        explainer = await opened.enter_async_context(ExplainerClient(f"127.0.0.1:{ports['explainer']['']}"))
        scorer = await opened.enter_async_context(ScorerClient(f"127.0.0.1:{ports['scorer']['']}"))
        search = Search.of("tiny", Objective("fc3", unit=0), row_count=1, settings=Settings(steps=2))
        assert len((await explainer.explain(search)).explanations) == 1
        assert await scorer.list_references() == []
