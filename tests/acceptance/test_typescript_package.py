"""The TypeScript SDK as npm would publish it: what is in it, and that it does what its README says."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import wait_until
from tests.support.program import Program, clean_environment
from tests.support.server import serving

FEED = "synthetic?symbols=EUR/USD,AAPL&rate=20"
PRICE = re.compile(r"(EUR/USD|AAPL) [\d.]+ [\d.]+$")
USE = """
import { type BestPrice, MarketDataClient, SubscriptionError } from "@marketstream/client";
import type { EventFilter, MarketEvent } from "@marketstream/client";
import { MarketDataClient as Light, sse } from "@marketstream/client/sse";
import { useMarketData } from "@marketstream/client/react";

const client: MarketDataClient = new MarketDataClient({ url: "http://x", token: "t", transport: "sse" });
const off: () => void = client.subscribe(["A"], (price: BestPrice) => price.bestBid?.size);
const map: Map<string, BestPrice> = useMarketData(new Light({ url: "x", transport: sse() }), ["A"]);
client.onError((error) => error instanceof SubscriptionError && error.reason.length);
// @ts-expect-error  there is no such option
new MarketDataClient({ url: "x", tokn: "t" });
// @ts-expect-error  there is no such mode
client.subscribe("A", () => {}, { mode: "some" });
const filter: EventFilter = { types: ["pattern"], tiers: ["daily"], minPriority: "HIGH" };
const leave: () => void = client.subscribeEvents<{ target: number }>(
  "mine",
  filter,
  ({ data }) => data.target.toFixed(),
);
client.onEvent((event: MarketEvent) => event.market?.price?.midPrice);
client.onEventsDropped((count: number) => count);
// @ts-expect-error  there is no such priority
client.subscribeEvents("mine", { minPriority: "SOON" }, () => {});
console.log(off, map, leave);
"""


def _npm(folder: Path, *command: str) -> str:
    done = subprocess.run(["npm", *command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def packed(sdk: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `npm pack` says it made, with the folder it is in."""
    folder = tmp_path_factory.mktemp("packed")
    [made] = json.loads(_npm(sdk, "pack", "--json", "--ignore-scripts", f"--pack-destination={folder}"))
    return dict(made) | {"folder": folder}


@pytest.fixture(scope="module")
def installed(packed: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which nothing but the package was installed."""
    folder = tmp_path_factory.mktemp("installed")
    tarball = packed["folder"] / packed["filename"]
    _npm(folder, "install", "--prefer-offline", "--no-audit", "--no-fund", str(tarball))
    return folder


def test_the_package_holds_what_is_built_and_nothing_else(packed: dict[str, Any], sdk: Path) -> None:
    names = {file["path"] for file in packed["files"]}
    built = {f"dist/{path.name}" for path in (sdk / "dist").iterdir()}
    assert names == built | {"LICENSE", "README.md", "package.json"}
    assert {name for name in built if not re.search(r"\.(js|cjs|d\.ts|d\.cts)$", name)} == set()


def test_every_entry_of_the_package_is_there(packed: dict[str, Any], sdk: Path) -> None:
    names = {f"./{file['path']}" for file in packed["files"]}
    described = json.loads((sdk / "package.json").read_text())
    targets = re.findall(r'"(\./[^"]+)"', json.dumps(described["exports"]))
    entries = {described["main"], described["module"], described["types"]}
    assert {target for target in targets if target.startswith("./dist/")} | entries <= names


def test_the_lock_file_of_the_sdk_names_no_host_to_fetch_from(sdk: Path) -> None:
    packages = json.loads((sdk / "package-lock.json").read_text())["packages"]
    entries = [entry for name, entry in packages.items() if name]
    assert entries
    assert [entry for entry in entries if "resolved" in entry or "integrity" not in entry] == []


def test_the_start_of_the_readme_works_in_an_empty_folder(installed: Path, sdk: Path) -> None:
    """The first program of the README, against a server like the one of `make run`."""
    [program, *_] = re.findall(r"```js\n(.*?)```", (sdk / "README.md").read_text(), re.DOTALL)
    with serving("--dev", feeds=(FEED,)) as server:
        (installed / "start.mjs").write_text(program.replace("http://127.0.0.1:8080", server.url))
        with Program([_node(), "start.mjs"], env=clean_environment(), cwd=installed) as running:
            wait_until(lambda: len(_prices(running)) > 9, 15, "ten prices")
            assert [line.strip() for line in running.out[:2]] == ["connecting", "connected"]


@pytest.mark.parametrize("kind", ["mjs", "cjs"])
def test_modules_and_commonjs_have_the_same_names(installed: Path, kind: str) -> None:
    names = ["MarketDataClient", "socketio", "InvalidSymbolError", "ConnectionFailedError"]
    load = "await import" if kind == "mjs" else "require"
    script = f"""
const all = {load}("@marketstream/client");
const light = {load}("@marketstream/client/sse");
console.log(JSON.stringify([{json.dumps(names)}.map((name) => typeof all[name]), typeof light.sse]));
"""
    (installed / f"names.{kind}").write_text(script)
    done = subprocess.run(
        [_node(), f"names.{kind}"], cwd=installed, capture_output=True, text=True, check=False
    )
    assert json.loads(done.stdout or "null") == [["function"] * len(names), "function"], done.stderr


@pytest.mark.parametrize("kind", ["mjs", "cjs"])
@pytest.mark.parametrize("entry", ["", "/sse"])
def test_what_is_loaded_on_demand_is_there(installed: Path, kind: str, entry: str) -> None:
    """Events, and the stream that brings them: without a server the client says that there is none."""
    load = "await import" if kind == "mjs" else "require"
    script = f"""
const {{ MarketDataClient }} = {load}("@marketstream/client{entry}");
const options = {{ url: "http://127.0.0.1:1", token: "t", transport: "sse", reconnection: false }};
const onError = (error) => console.log(error.code);
new MarketDataClient(options).subscribeEvents("mine", {{}}, () => {{}}, {{ onError }});
"""
    (installed / f"loaded.{kind}").write_text(script)
    done = subprocess.run(
        [_node(), f"loaded.{kind}"], cwd=installed, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("CONNECTION_FAILED\n", "")


@pytest.mark.parametrize("name", ["use.mts", "use.cts"])
def test_the_types_hold_for_modules_and_commonjs(installed: Path, sdk: Path, name: str) -> None:
    (installed / name).write_text(USE)
    react = installed / "node_modules" / "@types" / "react"
    if not react.exists():
        react.parent.mkdir(exist_ok=True)
        react.symlink_to(sdk / "node_modules" / "@types" / "react")
    flags = ("--noEmit", "--strict", "--module", "node16", "--exactOptionalPropertyTypes", "--skipLibCheck")
    done = subprocess.run(
        [sdk / "node_modules/.bin/tsc", *flags, "--types", "react", name],
        cwd=installed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def _prices(running: Program) -> list[str]:
    return [line for line in list(running.out) if PRICE.match(line)]


def _node() -> str:
    return shutil.which("node") or "node"
