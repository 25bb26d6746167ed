import socket

from marketstream.transports.peer import give_up_after

TCP_USER_TIMEOUT = 18


def test_an_accepted_connection_has_what_its_listening_socket_was_given() -> None:
    """As Linux passes them on: the kernel gives up on a silent peer, whatever is or is not being sent."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        give_up_after(listening, 30)
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
            found = [
                accepted.getsockopt(socket.IPPROTO_TCP, option)
                for option in (TCP_USER_TIMEOUT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)
            ]
            assert found == [30_000, 6, 3]
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_a_time_of_a_second_is_no_time_of_zero() -> None:
    """For the kernel that would be its default, or an error."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        give_up_after(listening, 1)
        assert listening.getsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT) == 1_000
        assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 1
