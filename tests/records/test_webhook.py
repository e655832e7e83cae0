"""Records by HTTP, against real servers that do not behave."""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import hmac
import ipaddress
import json
import resource
import socket
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from receivers import receiver
from runtimes import PATIENCE

from sessiond._version import __version__
from sessiond.actors.clock import SystemClock
from sessiond.records.settings import WebhookSink
from sessiond.records.sink import Failed, Interrupted, Refused, SinkError
from sessiond.records.webhook import DeadLetterFile, Webhook

BATCH = [b'{"id":"a"}', b'{"id":"b"}']


@pytest.fixture
def server():
    with receiver() as served:
        yield served


@pytest.fixture
def webhook(tmp_path):
    made = []

    def webhook(url, environ=None, **settings):
        letters = str(tmp_path / "dead.jsonl")
        sink = Webhook(
            WebhookSink(name="billing", url=url, dead_letters=letters, **settings), SystemClock(), environ or {}
        )
        sink.prepare()
        made.append(sink)
        return sink

    yield webhook
    for sink in made:
        sink.close()


def test_records_are_posted_as_one_object(server, webhook):
    webhook(server.url).deliver(BATCH)
    (request,) = server.requests
    assert json.loads(request.body) == {"records": [{"id": "a"}, {"id": "b"}]}
    assert request.path == "/cdr?from=sessiond"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"] == f"sessiond/{__version__}"
    assert request.headers["X-Sessiond-Sink"] == "billing"
    assert request.headers["Host"] == server.url.split("/")[2]
    assert "X-Sessiond-Signature" not in request.headers


def test_requests_share_a_connection(server, webhook):
    sink = webhook(server.url)
    for _ in range(3):
        sink.deliver(BATCH)
    assert len({request.connection for request in server.requests}) == 1


def test_a_connection_that_the_server_has_closed_meanwhile_costs_nothing(server, webhook):
    sink = webhook(server.url)
    server.answer = lambda _: (200, {"Connection": "close"})
    sink.deliver(BATCH)
    server.answer = lambda _: 200
    sink.deliver(BATCH)
    connected = sink._poster._socket
    connected.shutdown(socket.SHUT_WR)  # the server closes its side too
    while connected.recv(1, socket.MSG_PEEK):
        pass
    sink.deliver(BATCH)
    assert len(server.requests) == 3


def test_a_connection_may_have_any_descriptor(server, webhook):
    """A service with many gateways has none below 1024 left, and more is nothing for ``select``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sink = webhook(server.url)
    sink.deliver(BATCH)
    with sink._poster._socket as connected:
        sink._poster._socket = socket.socket(fileno=fcntl.fcntl(connected, fcntl.F_DUPFD, 1024))
    sink.deliver(BATCH)
    sink.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len({request.connection for request in server.requests}) == 1


def test_a_secret_signs_what_is_sent(server, webhook, tmp_path):
    (tmp_path / "secret").write_text("s3cret\n")
    webhook(server.url, {"HOOK": "s3cret"}, secret="env:HOOK").deliver(BATCH)
    webhook(server.url, secret=f"file:{tmp_path / 'secret'}").deliver(BATCH)
    for request in server.requests:
        expected = hmac.new(b"s3cret", request.body, hashlib.sha256).hexdigest()
        assert request.headers["X-Sessiond-Signature"] == f"sha256={expected}"


def test_headers_may_hold_secrets_too(server, webhook):
    webhook(server.url, {"TOKEN": "Bearer t0ken"}, headers={"Authorization": "env:TOKEN", "X-Env": "test"}).deliver(
        BATCH
    )
    (request,) = server.requests
    assert (request.headers["Authorization"], request.headers["X-Env"]) == ("Bearer t0ken", "test")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"secret": "env:HOOK"}, "HOOK is not in the environment, or empty"),
        ({"secret": "file:/nowhere/x"}, "/nowhere/x cannot be read: No such file or directory"),
        ({"headers": {"host": "x"}}, "the header host is the service's own"),
        ({"headers": {"X-Token": "env:BAD"}}, "the header X-Token must be printable ASCII"),
        ({"ca_file": "/nowhere/ca.pem", "url": "https://127.0.0.1/"}, "/nowhere/ca.pem: No such file or directory"),
        ({"url": "http://127.0.0.1:99999/"}, "http://127.0.0.1:99999/: Port out of range 0-65535"),
        ({"url": "http://:80/"}, "http://:80/ names no server"),
        ({"url": "http://[::1/"}, "http://[::1/: Invalid IPv6 URL"),
    ],
)
def test_what_is_wrong_is_said_at_the_start_and_no_secret_with_it(settings, complaint, webhook):
    with pytest.raises(SinkError) as caught:
        webhook(**({"url": "http://127.0.0.1/", "environ": {"BAD": "s3cret\r\nX: y"}} | settings))
    assert str(caught.value) == complaint


def test_a_folder_for_dead_letters_that_is_not_there_is_said_at_the_start(tmp_path, webhook):
    tmp_path.rmdir()
    with pytest.raises(SinkError, match=r"dead.jsonl cannot be written: No such file"):
        webhook("http://127.0.0.1/")


def test_what_is_refused_is_told_from_what_fails(server, webhook):
    sink = webhook(server.url)
    server.answer = lambda _: 422
    with pytest.raises(Refused, match="HTTP status 422: ok"):
        sink.deliver(BATCH)
    server.answer = lambda _: (503, {"Retry-After": "20"})
    with pytest.raises(Failed, match="HTTP status 503") as caught:
        sink.deliver(BATCH)
    assert caught.value.pause == 20


def test_redirects_are_not_followed(server, webhook):
    server.answer = lambda _: (307, {"Location": server.url})
    with pytest.raises(Failed, match="HTTP status 307"):
        webhook(server.url).deliver(BATCH)
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_is_a_failure(webhook):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Failed, match="Connection refused"):
        webhook(f"http://127.0.0.1:{port}/").deliver(BATCH)


def test_a_name_that_cannot_be_one_is_a_failure(webhook):
    with pytest.raises(Failed):
        webhook(f"http://{'a' * 64}.example/").deliver(BATCH)


def test_a_server_that_closes_without_an_answer_is_a_failure(server, webhook):
    server.answer = lambda _: None
    sink = webhook(server.url)
    with pytest.raises(Failed):
        sink.deliver(BATCH)
    server.answer = lambda _: 200
    sink.deliver(BATCH)


def test_a_server_that_does_not_answer_in_time_is_a_failure(server, webhook):
    server.answer = server.hang
    with pytest.raises(Failed, match="no answer in time"):
        webhook(server.url, timeout=0.05).deliver(BATCH)


class Stepping:
    """A clock on which a second passes at each look."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        self.seconds += 1.0
        return self.seconds


def test_a_server_that_answers_byte_by_byte_stretches_no_time(webhook):
    """However many bytes come in time, the answer as a whole must."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def drip():
            connected, _ = listener.accept()
            with connected:
                connected.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while not stop.is_set():
                    try:
                        connected.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        sink = webhook(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=10)
        sink._poster._now = Stepping()
        with pytest.raises(Failed):
            sink.deliver(BATCH)
        stop.set()
        thread.join(PATIENCE)


def test_what_speaks_no_http_is_a_failure(webhook):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet():
            connected, _ = listener.accept()
            with connected:
                connected.sendall(b"220 mail.example ESMTP\r\n")
                connected.recv(1)

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(Failed):
            webhook(f"http://127.0.0.1:{listener.getsockname()[1]}/").deliver(BATCH)
        thread.join(PATIENCE)


def test_a_server_that_refuses_before_it_has_read_all_is_heard(webhook):
    """nginx answers 413 and closes; what it said must not be lost with the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answered = threading.Event()

        def refuse():
            connected, _ = listener.accept()
            with connected:
                connected.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                connected.shutdown(socket.SHUT_WR)
                answered.set()
                while connected.recv(1 << 20):
                    pass

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(Refused, match="413"):
            webhook(f"http://127.0.0.1:{listener.getsockname()[1]}/").deliver([b'"' + b"x" * (8 << 20) + b'"'])
        assert answered.is_set()
        thread.join(PATIENCE)


def test_a_hanging_request_can_be_interrupted(server, webhook):
    server.answer = server.hang
    sink = webhook(server.url, timeout=60)
    raised = []

    def deliver():
        try:
            sink.deliver(BATCH)
        except Interrupted as error:
            raised.append(error)

    thread = threading.Thread(target=deliver)
    thread.start()
    assert server.came.wait(PATIENCE)
    sink.interrupt()
    thread.join(PATIENCE)
    assert len(raised) == 1
    with pytest.raises(Interrupted):
        sink.deliver(BATCH)


@pytest.fixture
def certificate(tmp_path):
    """The path of a certificate for 127.0.0.1, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "cert.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    key_path = tmp_path / "key.pem"
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption_algorithm=plain)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key_path)
    return path, context


def test_an_https_server_must_be_known(certificate, webhook):
    path, context = certificate
    with receiver(context) as server:
        with pytest.raises(Failed, match="the server's certificate is refused: self-signed certificate"):
            webhook(server.url).deliver(BATCH)
        assert server.requests == []
        sink = webhook(server.url, ca_file=str(path))
        sink.deliver(BATCH)
        sink.deliver(BATCH)
        assert len(server.requests) == 2


def test_a_dead_letter_says_why_and_has_the_whole_record(tmp_path):
    settings = WebhookSink(name="x", url="http://127.0.0.1/", dead_letters=str(tmp_path / "dead.jsonl"))
    letters = DeadLetterFile(settings)
    letters.bury([b'{"id":"a","metadata":{"mos":4.0}}'], "HTTP status 422", 1.7e9)
    (line,) = (tmp_path / "dead.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "at": 1.7e9,
        "reason": "HTTP status 422",
        "record": {"id": "a", "metadata": {"mos": 4.0}},
    }


def test_dead_letters_that_cannot_be_written_are_a_failure(tmp_path):
    settings = WebhookSink(name="x", url="http://127.0.0.1/", dead_letters=str(tmp_path))
    with pytest.raises(Failed, match="Is a directory"):
        DeadLetterFile(settings).bury([b"{}"], "x", 0.0)
