"""Which URLs are read, and which IP addresses are public."""

from ipaddress import ip_address

import pytest

from services.mesh.transport.public_address import is_public
from services.model.media.address import Address, Unreachable


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::8.8.8.8",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "5f00::1",
    ],
)
def test_an_address_that_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "223.255.255.255",
        "2606:4700::1111",
        "2001:4860:4860::8888",
        "2a00:1450:4001::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ],
)
def test_an_address_that_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("\uff11\uff12\uff17\u3002\uff10\u3002\uff10\u3002\uff11", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[::ffff:10.0.0.1]", "::ffff:a00:1"),
    ],
)
def test_every_form_of_an_ip_address_is_recognized(host: str, address: str) -> None:
    assert Address.of(f"http://{host}/a").literal == ip_address(address)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://example.com/a", "does not begin with http"),
        ("file:///etc/passwd", "does not begin with http"),
        ("//example.com/a", "does not begin with http"),
        ("http:///a", "host that is none"),
        ("http://a..b/", "host that is none"),
        ("http://-a/", "host that is none"),
        ("http://%31%32%37.0.0.1/", "host that is none"),
        ("http://a,b/", "host that is none"),
        (f"http://{'a' * 70}.com/", "host that is none"),
        ("http://[v1.x]/", "none"),
        ("http://[::1", "none"),
        ("http://[127.0.0.1]/", "none"),
        ("http://[fe80::1%25eth0]/", "none|own network"),
        ("http://a:99999/", "port that is none"),
        ("http://a:b/", "port that is none"),
        ("http://me@example.com/", "user or a password"),
        ("http://me:secret@example.com/", "user or a password"),
        ("http://example.com@127.0.0.1/", "user or a password"),
        ("http://example.com\\@127.0.0.1/", "backslash"),
        ("http://exam\nple.com/", "control character"),
        (" http://example.com/", "space"),
        ("http://example.com/a b", "space"),
    ],
)
def test_a_url_that_is_not_read(url: str, said: str) -> None:
    with pytest.raises(Unreachable, match=said) as error:
        Address.of(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("http://example.com", "example.com", "/"),
        ("HTTPS://EXAMPLE.com:443/A?b=%20c#d", "example.com", "/A?b=%20c"),
        ("http://example.com:8080/a", "example.com:8080", "/a"),
        ("http://b\u00fccher.example/\u00fc?q=\u00e4", "xn--bcher-kva.example", "/%C3%BC?q=%C3%A4"),
        ("http://[2606:4700::1111]:81/", "[2606:4700::1111]:81", "/"),
    ],
)
def test_what_a_server_is_asked(url: str, authority: str, target: str) -> None:
    address = Address.of(url)
    assert (address.authority, address.target) == (authority, target)


def test_the_query_is_not_shown_to_people() -> None:
    assert Address.of("https://bucket.example/a.png?signature=secret").shown == "https://bucket.example/a.png"
