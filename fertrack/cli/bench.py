"""``fertrack bench``: how fast it is on this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from fertrack.cli.options import Config, Overrides, settings_from
from fertrack.cli.output import err_console, print_json

__all__ = ["app"]

app = typer.Typer(help="How fast it is on this machine.", no_args_is_help=True)


@app.callback()
def _bench() -> None:
    pass


@app.command("live")
def live(
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="A video with faces; sent in a loop as a stream.")],
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="mjpeg (HTTP), udp (MPEG-TS), rtsp; may be repeated. [default: mjpeg, udp]"),
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.05, max=600.0, help="Minutes of steady running, each.")] = 1.0,
    disconnects: Annotated[int, typer.Option(min=0, max=1000, help="Times the connection is broken off, each.")] = 3,
    fps: Annotated[float, typer.Option(min=1.0, max=120.0, help="Pictures sent a second.")] = 30.0,
    size: Annotated[str, typer.Option(metavar="WxH", help="Size of the pictures. [default: the clip's]")] = "",
    seconds: Annotated[float, typer.Option(min=1.0, max=120.0, help="Most of the clip that is sent.")] = 10.0,
    fixed: Annotated[bool, typer.Option("--fixed", help="Adapt nothing to the machine's speed.")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder to write DATE-live-CLIP.md and .json to.")
    ] = None,
    config: Config = None,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play CLIP as a live stream over loopback, and measure display rate, age of results, latency, memory, outages.

    Needs psutil: pip install 'fertrack[bench]'. Example: fertrack bench live clip.mp4 --minutes 10 --disconnects 20
    """
    from fertrack.errors import ConfigError

    protocols = protocol or ["mjpeg", "udp"]
    pixels = _size(size)
    settings = settings_from(config, overrides)
    try:
        from fertrack.benchmarks.live import as_json as plain
        from fertrack.benchmarks.live import measure_live, to_markdown
        from fertrack.benchmarks.loopback.sender import PROTOCOLS
    except ImportError as error:
        raise ConfigError(f"this needs {error.name}: pip install 'fertrack[bench]'") from error
    console = err_console()
    results = []
    for name in protocols:
        chosen = next((each for each in PROTOCOLS if each == name), None)
        if chosen is None:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(PROTOCOLS)}", param_hint="--protocol")
        results.append(
            measure_live(
                clip,
                chosen,
                minutes=minutes,
                disconnects=disconnects,
                fps=fps,
                size=pixels,
                seconds=seconds,
                settings=settings,
                fixed=fixed,
                on_progress=lambda sentence: console.print(sentence, markup=False),
            )
        )
    page = to_markdown(results)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        stem = out / f"{results[0].date}-live-{clip.stem}"
        stem.with_suffix(".json").write_text(json.dumps(plain(results), indent=2) + "\n", encoding="utf-8")
        stem.with_suffix(".md").write_text(page, encoding="utf-8")
    if as_json:
        print_json(plain(results))
    else:
        sys.stdout.write(page)


def _size(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) >= 16 and int(height) >= 16):
        raise typer.BadParameter(f"{text!r} is no size: give for example 1280x720", param_hint="--size")
    return int(width), int(height)
