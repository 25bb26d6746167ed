"""What the server replaces inside other libraries, so that a new version of one is noticed here first."""

import inspect
from importlib.metadata import version

import engineio
import pytest
import socketio
from aiohttp.base_protocol import BaseProtocol
from aiohttp.web_protocol import RequestHandler

from marketstream.transports.socketio.engine import EngineServer
from marketstream.transports.socketio.manager import HubManager
from marketstream.transports.socketio.namespace import MarketServer


@pytest.mark.parametrize(
    ("package", "series"), [("python-engineio", "4.15."), ("python-socketio", "5.18."), ("aiohttp", "3.14.")]
)
def test_the_libraries_are_of_the_series_that_was_looked_into(package: str, series: str) -> None:
    """Raising one means reading what changed behind the names below."""
    assert version(package).startswith(series)


@pytest.mark.parametrize("name", ["attach", "handle_request", "shutdown"])
def test_what_the_engine_overrides_exists_in_engine_io(name: str) -> None:
    assert callable(getattr(engineio.AsyncServer, name))
    assert name in vars(EngineServer)


def test_python_socketio_sends_through_the_socket_it_finds_by_its_id() -> None:
    """`sio.disconnect` and `sio.call` reach a client by `eio.send_packet` and `EngineSocket.send`."""
    source = inspect.getsource(engineio.AsyncServer.send_packet)
    assert "self._get_socket(sid)" in source
    assert "await socket.send(pkt)" in source
    lookup = inspect.getsource(engineio.base_server.BaseServer._get_socket)
    assert "self.sockets[sid]" in lookup
    assert "s.closed" in lookup


def test_python_socketio_takes_its_engine_from_the_method_that_is_overridden() -> None:
    assert "_engineio_server_class" in vars(MarketServer)
    assert "self._engineio_server_class()(" in inspect.getsource(socketio.base_server.BaseServer.__init__)


@pytest.mark.parametrize(
    "name",
    [
        "can_disconnect",
        "close_room",
        "disconnect",
        "eio_sid_from_sid",
        "emit",
        "enter_room",
        "get_namespaces",
        "get_participants",
        "get_rooms",
        "is_connected",
        "leave_room",
        "pre_disconnect",
        "sid_from_eio_sid",
    ],
)
def test_what_python_socketio_asks_its_manager_has_the_same_parameters(name: str) -> None:
    theirs = inspect.signature(getattr(socketio.AsyncManager, name)).parameters
    ours = inspect.signature(getattr(HubManager, name)).parameters
    assert [p for p in ours if p != "kwargs"] == [p for p in theirs if p != "kwargs"]


@pytest.mark.parametrize("name", ["_message_tail", "_manager", "_task_handler", "_current_request"])
def test_aiohttps_protocol_holds_what_taking_over_relies_on(name: str) -> None:
    assert name in RequestHandler.__slots__


@pytest.mark.parametrize(
    "name", ["_messages", "_request_count", "_waiter", "_upgraded", "_buffer_paused", "max_line_size"]
)
def test_aiohttps_protocol_holds_what_reading_heads_relies_on(name: str) -> None:
    assert name in {*RequestHandler.__slots__, *BaseProtocol.__slots__}


def test_aiohttps_protocol_asks_for_the_answer_to_what_is_no_request() -> None:
    """And queues what it could not parse behind the requests before."""
    assert "self._make_error_handler(message)" in inspect.getsource(RequestHandler.start)
    assert "self._messages.append((msg, payload))" in inspect.getsource(RequestHandler.data_received)
    assert "self._request_count += 1" in inspect.getsource(RequestHandler.data_received)


def test_aiohttps_protocol_lets_go_of_a_connection_without_closing_it() -> None:
    """It closes only a transport that it still has, and asks the response only for these two."""
    assert "if self.transport is not None" in inspect.getsource(RequestHandler.force_close)
    assert "self.force_close()" in inspect.getsource(RequestHandler.connection_lost)
    finish = inspect.getsource(RequestHandler.finish_response)
    assert "resp.prepare" in finish
    assert "write_eof" in finish
