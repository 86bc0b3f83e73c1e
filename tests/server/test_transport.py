"""The way to a server: certificates, proxies, and servers that wake up."""

from __future__ import annotations

import datetime
import logging
import socket
import ssl
from pathlib import Path

import pytest
from apache_beam.utils.secret import RawSecret
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import beam_argilla as ba
from beam_argilla.errors import CertificateError, JobError, NotArgillaError, ServerUnavailableError
from tests.faults import Answer, FakeServer, Fault, FaultProxy, page
from tests.samples import unique

QUICK = ba.RetryPolicy(limit=30, first_delay=0.01, max_delay=0.05)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ('http_proxy', 'https_proxy', 'all_proxy', 'no_proxy'):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def look(url: str, key: str = 'k', limit: float = 10.0, retry: ba.RetryPolicy = QUICK, **options: object) -> object:
    connection = ba.ArgillaConnection(url, api_key=RawSecret(key), **options)
    return ba.check_dataset(unique('x'), connection=connection, limit=limit, retry=retry)


def every(method: str, path: str) -> bool:
    return True


# -- certificates


def certificate(folder: Path, host: str, days: int = 1) -> tuple[Path, ssl.SSLContext]:
    """A PEM file with a certificate that vouches for itself, and what a server needs to show it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=3)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=3 + days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / f'{host}.pem'
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / 'key').write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, folder / 'key')
    return pem, context


@pytest.fixture
def over_tls(argilla_server, tmp_path):
    """An Argilla behind TLS with a certificate of this name; its address and the certificate's file."""
    proxies = []

    def over_tls(host: str = 'localhost', days: int = 1) -> tuple[FaultProxy, str, Path]:
        pem, context = certificate(tmp_path, host, days)
        proxy = FaultProxy(argilla_server.api_url, applies=every, tls=context)
        proxies.append(proxy)
        return proxy.__enter__(), proxy.url.replace('127.0.0.1', 'localhost'), pem

    yield over_tls
    for proxy in proxies:
        proxy.__exit__()


def test_a_certificate_of_ones_own_is_told_at_once_with_the_way_out_which_works(over_tls, argilla_server):
    proxy, url, pem = over_tls()
    with pytest.raises(CertificateError, match=r'certificate .* not trusted: self.signed .*--ca_file FILE'):
        look(url)
    assert proxy.events == []
    connection = ba.ArgillaConnection(url, api_key=RawSecret(argilla_server.api_key), ca_file=pem)
    assert ba.check_dataset('x', connection=connection, retry=QUICK) is None
    assert connection.client().me.username == 'argilla'


def test_the_file_that_the_environment_names_is_trusted_too(over_tls, argilla_server, monkeypatch):
    _, url, pem = over_tls()
    monkeypatch.setenv('SSL_CERT_FILE', str(pem))
    assert look(url, argilla_server.api_key) is None


@pytest.mark.parametrize(
    ('host', 'days', 'message'),
    [('localhost', -1, r'expired.*renewed'), ('other.example', 1, r"'localhost'.*address that the certificate is for")],
)
def test_a_certificate_that_no_ca_file_mends_is_told_with_another_way_out(over_tls, host, days, message):
    _, url, pem = over_tls(host, days)
    with pytest.raises(CertificateError, match=message) as raised:
        look(url, ca_file=pem)
    assert '--ca_file' not in str(raised.value)


def test_a_file_with_the_certificates_of_others_is_named(over_tls, tmp_path, monkeypatch):
    (tmp_path / 'other').mkdir()
    other, _ = certificate(tmp_path / 'other', 'other.example')
    _, url, _ = over_tls()
    with pytest.raises(CertificateError, match=r"in .*ca_file='.*other\.example\.pem' vouch for it"):
        look(url, ca_file=other)
    monkeypatch.setenv('SSL_CERT_FILE', str(other))
    with pytest.raises(CertificateError, match=r"in SSL_CERT_FILE='.*other\.example\.pem'.* vouch for it"):
        look(url)


@pytest.mark.parametrize(
    ('content', 'message'), [(None, 'cannot be read where'), (b'', 'no certificates'), (b'nonsense', 'no certificates')]
)
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path, content, message):
    path = tmp_path / 'ca.pem'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CertificateError, match=rf'ca\.pem.*{message}'):
        look('https://localhost:9', ca_file=path)


def test_plain_http_to_a_server_that_speaks_tls_is_told(over_tls):
    _, url, _ = over_tls()
    with pytest.raises(ServerUnavailableError, match='address begins with https://'):
        look(url.replace('https:', 'http:'), limit=0.5)


def test_tls_to_a_server_that_speaks_plain_http_is_told_at_once(argilla_server):
    with pytest.raises(NotArgillaError, match='http:// instead of https://'):
        look(argilla_server.api_url.replace('http:', 'https:'))


# -- proxies


def proxy_for(url: str) -> str | None:
    return ba.ArgillaConnection(url).transport().proxy


@pytest.mark.parametrize(
    'host',
    ['localhost', 'LOCALHOST', 'localhost.', 'argilla.localhost', '127.0.0.1', '127.8.9.1', '[::1]', '0.0.0.0', '[::]',
     '[::ffff:127.0.0.1]', socket.gethostname()],
)  # fmt: skip
@pytest.mark.parametrize('name', ['http_proxy', 'HTTP_PROXY', 'ALL_PROXY'])
def test_addresses_of_this_machine_go_through_no_proxy(monkeypatch, host, name):
    monkeypatch.setenv(name, 'http://127.0.0.1:9')
    assert proxy_for(f'http://{host}:6900') is None
    assert proxy_for('http://argilla.example') == 'http://127.0.0.1:9'


@pytest.mark.parametrize(
    ('no_proxy', 'url', 'goes_round'),
    [
        ('argilla.example', 'http://argilla.example', True),
        ('.example', 'http://argilla.example', True),
        ('*.example', 'http://argilla.example', True),
        ('example', 'http://argilla.example', True),
        ('gilla.example', 'http://argilla.example', False),
        ('other.example, argilla.example', 'http://argilla.example', True),
        ('argilla.example:6900', 'http://argilla.example:6900', True),
        ('argilla.example:6900', 'http://argilla.example:80', False),
        ('*', 'http://argilla.example', True),
        ('a, *', 'http://argilla.example', True),
        ('10.0.0.0/8', 'http://10.1.2.3', True),
        ('10.0.0.0/8', 'http://11.1.2.3', False),
        ('fd00::/8', 'http://[fd00::1]', True),
        ('fd00::1', 'http://[fd00::1]:6900', True),
        ('', 'http://argilla.example', False),
    ],
)
def test_who_goes_round_the_proxy(monkeypatch, no_proxy, url, goes_round):
    monkeypatch.setenv('HTTP_PROXY', 'gateway:3128')
    monkeypatch.setenv('NO_PROXY', no_proxy)
    assert proxy_for(url) == (None if goes_round else 'http://gateway:3128')


def test_the_scheme_of_the_address_chooses_the_proxy(monkeypatch):
    monkeypatch.setenv('HTTPS_PROXY', 'http://secure:1')
    assert proxy_for('http://argilla.example') is None
    assert proxy_for('https://argilla.example') == 'http://secure:1'
    monkeypatch.setenv('ALL_PROXY', 'http://all:1')
    assert proxy_for('http://argilla.example') == 'http://all:1'


@pytest.mark.parametrize(
    ('answer', 'error', 'message'),
    [
        (Answer(407, b'<h1>Who are you?</h1>', {'Content-Type': 'text/html'}), NotArgillaError, r'407 .*Who are you\?'),
        (Answer(503, b'<h1>Unable to find argilla.example</h1>'), ServerUnavailableError, r'503 .*Unable to find'),
        (None, ServerUnavailableError, 'ConnectError'),
    ],
    ids=['refuses', 'finds nothing', 'is not there'],
)
def test_a_proxy_that_fails_is_named_without_its_password(monkeypatch, answer, error, message):
    with FakeServer(answer or Answer(500)) as server:
        monkeypatch.setenv('HTTP_PROXY', server.url.replace('//', '//ada:pass-word@'))
        if answer is None:
            server.vanish()
        with pytest.raises(error, match=message) as raised:
            look('http://argilla.example', limit=0.1, retry=ba.RetryPolicy(limit=1000, first_delay=0.02))
    told = str(raised.value)
    assert f'the proxy {server.url}, which the environment names; NO_PROXY=argilla.example' in told
    assert 'pass-word' not in told


def test_a_proxy_that_refuses_to_connect_is_told_at_once(monkeypatch):
    with FakeServer(Answer(407)) as server:
        monkeypatch.setenv('HTTPS_PROXY', server.url)
        with pytest.raises(JobError, match=rf'The proxy refuses to connect .*407.*{server.url}'):
            look('https://argilla.example')
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    'proxy',
    ['ftp://u:secret@x', 'socks://u:secret@x:1', 'http://', 'http://u:secret@x:a', '://x', 'http://u:sec/secret@x:1',
     'http://u:a secret@x:1', 'u:a/secret@x:1', 'http://u:[secret@x:1', 'http://u:secret@a..b', 'http://u:s?secret@x:1',
     'socks5://u:secret@x:1', 'http://u:secret@x:99999'],
)  # fmt: skip
def test_a_proxy_that_makes_no_sense_is_told(monkeypatch, proxy):
    monkeypatch.setenv('ALL_PROXY', proxy)
    with pytest.raises(JobError, match=r'The proxy .* cannot be used: .*NO_PROXY=argilla\.example') as raised:
        look('http://argilla.example')
    assert 'secret' not in str(raised.value)


def test_the_client_of_the_sdk_goes_the_same_way(monkeypatch, argilla_server):
    """Which of itself knows nothing of proxies."""
    with FaultProxy(argilla_server.api_url, applies=every) as proxy:
        monkeypatch.setenv('HTTP_PROXY', proxy.url)
        key = RawSecret(argilla_server.api_key)
        assert ba.ArgillaConnection(argilla_server.api_url, api_key=key).client().me.username == 'argilla'
        assert proxy.events == []
        assert ba.ArgillaConnection('http://argilla.example', api_key=key).client().me.username == 'argilla'
        assert {event.path for event in proxy.events} == {'http://argilla.example/api/v1/me'}


# -- a server that wakes up


def starting(status: int = 503) -> Fault:
    return Fault('starting', **{**page(status), 'body': b'<html><body>Your space is starting</body></html>'})


@pytest.mark.parametrize('status', [200, 403, 404, 429, 502, 503, 520])
def test_a_server_that_wakes_up_is_waited_for_and_it_is_said_once(argilla_server, caplog, status):
    fault = starting(status)
    with FaultProxy(argilla_server.api_url, lambda r: fault if r.number < 30 else None, every) as proxy:
        assert look(proxy.url, argilla_server.api_key, limit=1.0) is None
    assert proxy.counts['starting'] == 30
    (said,) = [r for r in caplog.records if r.levelno >= logging.WARNING and r.name.startswith('beam_argilla')]
    assert said.getMessage().startswith(f'Waiting for {proxy.url}, for up to 30 seconds: ')
    assert f'{status} to GET /api/v1/version: a web page: Your space is starting' in said.getMessage()


def test_once_it_has_answered_a_lost_connection_is_waited_for_as_well(argilla_server):
    def schedule(request):
        return starting() if request.number < 2 else Fault('lost', drop='before') if request.number < 30 else None

    with FaultProxy(argilla_server.api_url, schedule, every) as proxy:
        assert look(proxy.url, argilla_server.api_key, limit=1.0) is None
    assert proxy.counts['lost'] == 28


def test_a_server_that_does_not_wake_up_in_time_is_told_with_what_it_says():
    with FakeServer(Answer(503, starting().body, {'Content-Type': 'text/html'})) as server:
        with pytest.raises(ServerUnavailableError, match=r'503 .*Your space is starting'):
            look(server.url, retry=ba.RetryPolicy(limit=0.2, first_delay=0.01, max_delay=0.02))
        assert len(server.requests) > 3


@pytest.mark.parametrize(
    ('answer', 'told'),
    [
        (Answer(200, b'<h1>Our wiki</h1>', {'Content-Type': 'text/html'}), 'Our wiki'),
        (Answer(404, b'<h1>Our wiki</h1>', {'Content-Type': 'text/html'}), 'Our wiki'),
        (Answer(404, b'{"detail":"Not Found"}'), 'Not Found'),
        (Answer(200, b'{"status":"ok"}'), '"status":"ok"'),
        (Answer(401, b'Log in'), 'Log in'),
        (Answer(400, b'{"detail":"Argilla of another kind"}'), 'another kind'),
        (Answer(301, b'', {'Location': 'https://elsewhere.example/?token=x'}), 'https://elsewhere.example/: use that'),
        (Answer(302, b'', {'Location': '/login'}), '/login: use that'),
    ],
)
def test_a_wrong_address_is_told_soon_with_what_answers_there(answer, told):
    with FakeServer(answer) as server:
        with pytest.raises(NotArgillaError, match=told) as raised:
            look(server.url, retry=ba.RetryPolicy(limit=1000, first_delay=0.01))
        assert len(server.requests) <= 4
    assert 'owner' not in str(raised.value)
    assert 'token' not in str(raised.value)


@pytest.mark.parametrize('url', ['http://127.0.0.1:9', 'http://argilla.invalid'])
def test_where_nothing_answers_the_limit_of_the_look_counts(url, caplog):
    with pytest.raises(ServerUnavailableError, match=r'ConnectError'):
        look(url, limit=0.1, retry=ba.RetryPolicy(limit=1000, first_delay=0.02))
    assert [r for r in caplog.records if r.name.startswith('beam_argilla')] == []


@pytest.mark.parametrize('name', ['limit', 'first_delay', 'max_delay'])
@pytest.mark.parametrize('value', [-1, float('nan')])
def test_a_policy_that_would_never_end_is_refused_where_it_is_written(name, value):
    with pytest.raises(ValueError, match=f'{name}={value}: give seconds'):
        ba.RetryPolicy(**{name: value})


@pytest.mark.parametrize('limits', [{'limit': 0.2}, {'retry': ba.RetryPolicy(limit=0.2)}], ids=lambda x: next(iter(x)))
def test_where_something_listens_and_says_nothing_the_limit_counts_as_well(limits):
    with socket.create_server(('127.0.0.1', 0)) as silent, pytest.raises(ServerUnavailableError, match='ReadTimeout'):
        look(f'http://127.0.0.1:{silent.getsockname()[1]}', timeout=60, **limits)


def test_a_secret_is_in_no_message_of_a_gateway():
    told = pytest.raises(NotArgillaError, match=r'No \*\*\* and no \*\*\* here')
    with FakeServer(Answer(400, b'<p>No a-secret-key and no hf_token here</p>')) as server, told:
        look(server.url, key='a-secret-key', headers={'Authorization': 'Bearer hf_token'})


def test_the_password_of_a_proxy_is_in_no_message_of_it(monkeypatch):
    told = pytest.raises(NotArgillaError, match=r'ada with \*\*\* or \*\*\*\?')
    with FakeServer(Answer(407, b'<p>Who is ada with pass/word or pass%2Fword?</p>')) as server, told:
        monkeypatch.setenv('HTTP_PROXY', server.url.replace('//', '//ada:pass%2Fword@'))
        look('http://argilla.example')
