"""Names, passwords and tokens in addresses are masked, whatever shape they come in, and nothing else is."""

from __future__ import annotations

import pytest

from fertrack.sources import mask_credentials
from fertrack.sources.stream.credentials import mask_mistyped, split_credentials


@pytest.mark.parametrize(
    ("address", "masked"),
    [
        ("rtsp://ana:geheim@10.0.0.2:554/live", "rtsp://***@10.0.0.2:554/live"),
        ("rtsp://geheim@cam/live", "rtsp://***@cam/live"),
        ("RTSP://ana:geheim@[fe80::1]:554/", "RTSP://***@[fe80::1]:554/"),
        ("http://ana:ge@heim@cam/x", "http://***@cam/x"),
        ("http://ana:ge/heim@cam/x", "http://***@cam/x"),
        ("http://ana:geheim/@cam?x=1", "http://***@cam?x=1"),
        ("http://ana:ge@heim/@cam/x", "http://***@cam/x"),
        ("http://ana:12/heim@cam/x", "http://***@cam/x"),
        ("http://ana:12?heim@cam/x", "http://***@cam/x"),
        ("https://cam/v.m3u8?token=geheim&w=640", "https://cam/v.m3u8?token=***&w=640"),
        ("https://cam/v?X-Amz-Signature=geheim&Policy=geheim", "https://cam/v?X-Amz-Signature=***&Policy=***"),
        ("http://cam/cgi?USER=geheim&PWD=geheim&loginuse=geheim", "http://cam/cgi?USER=***&PWD=***&loginuse=***"),
        ("http://cam/v?api_key=geheim#t", "http://cam/v?api_key=***#***"),
        ("https://cam/live#geheim", "https://cam/live#***"),
        ("rtsp://cam:554/user=geheim_password=geheim_channel=1_stream=0.sdp", "rtsp://cam:554/user=***"),
        ("http://cam/v?a=1&auth%3Dgeheim", "http://cam/v?a=1&auth%3D***"),
    ],
)
def test_secrets_are_masked(address: str, masked: str) -> None:
    assert mask_credentials(address) == masked
    assert mask_credentials(f"cannot open '{address}', giving up") == f"cannot open '{masked}', giving up"


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://10.0.0.2:554/cam/realmonitor?channel=1&subtype=0",
        "http://cam/video@2x.m3u8?w=640&h=480&fps=10",
        "udp://@:1234",
        "udp://@239.0.0.1:1234?localaddr=10.0.0.1",
        "http://[::1]:8080/a@b",
        "http://localhost:8080/a@b",
        "http://10.0.0.2:8080/a@b?c=d@e",
        "http://cam:8080/a",
        "clip.mp4 has no picture, token=visible where there is no address",
        "",
    ],
)
def test_the_rest_stays(text: str) -> None:
    assert mask_credentials(text) == text


@pytest.mark.parametrize("text", ["clips/me@home.mp4", "/data/day@10/a.mp4", "a.mp4", "", "rtsp://10.0.0.2:554/a"])
def test_what_can_only_be_a_path_stays(text: str) -> None:
    assert mask_mistyped(text) == text


def test_masking_twice_changes_nothing() -> None:
    once = mask_credentials("rtsp://ana:geheim@cam/x?token=abc")
    assert mask_credentials(once) == once


def test_credentials_are_taken_out_decoded() -> None:
    address = split_credentials("http://ana:a%40b%3Ac@cam:80/x?token=t")
    assert (address.url, address.user, address.password) == ("http://cam:80/x?token=t", "ana", "a@b:c")
    assert split_credentials("udp://@:1234").url == "udp://:1234"
    assert split_credentials("no address").url == "no address"


def test_credentials_are_put_back_escaped() -> None:
    assert split_credentials("rtsp://ana:p@ss@cam/x").with_account() == "rtsp://ana:p%40ss@cam/x"
    assert split_credentials("rtsp://ana:p/w@cam/x").with_account() == "rtsp://ana:p%2Fw@cam/x"
    assert split_credentials("rtsp://cam/x").with_account() == "rtsp://cam/x"


def test_an_address_shows_no_secret() -> None:
    shown = repr(split_credentials("http://ana:geheim@cam/x?token=geheim"))
    assert "geheim" not in shown
    assert "ana" not in shown
    assert "cam/x" in shown
