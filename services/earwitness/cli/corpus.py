"""`earwitness corpus`: the seeded synthetic corpora, singing over accompaniment and replayed speech."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from earwitness.cli import console
from earwitness.cli.extra import extra
from earwitness.cli.options import Json
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.training.corpus import Corpus

app = typer.Typer(name="corpus", no_args_is_help=True)


@app.callback()
def corpus() -> None:
    """Make the corpora that the shipped detectors are trained on. Needs the extra `train`."""


@app.command()
def build(
    out: Annotated[Path, typer.Argument(help="Folder of the corpus.")],
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal bytes.")] = 0,
    clips: Annotated[
        int | None, typer.Option(min=3, help="Clips in all, six seconds each. Default: 10 050, about an hour.")
    ] = None,
    preset: Annotated[
        Literal["sung", "kinds"],
        typer.Option(help="sung: singing alone. kinds: other voices too, instruments that imitate them, beats."),
    ] = "sung",
    shares: Annotated[
        list[str] | None,
        typer.Option(
            "--share",
            metavar="NAME=SHARE",
            help="Instead of the preset's, again for each: rapped, spoken, chopped and layered of the clips with a "
            "voice, imitation of the lead instruments, beat of all clips.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", "-j", min=1, help="Processes.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Replace another corpus that is there.")] = False,
    json_output: Json = False,
) -> None:
    """Build the corpus: singing synthesised over accompaniment, labelled frame by frame, split by speaker and backing.

    With --preset kinds, some of the voices rap, speak, are chopped as by a sampler or sing in several parts, half of
    the lead instruments imitate them, and a quarter of all clips has a hip-hop beat.

    An interrupted build resumes; a complete one is left as it is.

    [bold]Examples[/bold]

      earwitness corpus build corpus -j 4

      earwitness corpus build small-corpus --clips 60

      earwitness corpus build with-rap --preset kinds --share rapped=0.3
    """
    with extra("train"):
        from earwitness.training.corpus import CorpusConfig, build_corpus

        plain = CorpusConfig.with_kinds() if preset == "kinds" else CorpusConfig()
        config = replace(plain if clips is None else plain.scaled(clips), **_shares(shares or ()), seed=seed)
        with console.progress("corpus") as update:
            built = build_corpus(
                config, out, workers, progress=lambda stage, done, total: update(done, total, stage), force=force
            )
    if json_output:
        console.print_json({"folder": built.folder, **built.manifest})
    else:
        _print_singing(built)


def _shares(given: Sequence[str]) -> dict[str, Any]:
    """Fields of CorpusConfig by what --share gives. Raises: InvalidArgument naming what cannot be read."""
    from earwitness.training.corpus.config import KIND_SHARES

    known = [name.removesuffix("_share") for name in KIND_SHARES]
    found: dict[str, Any] = {}
    for each in given:
        name, _, share = each.partition("=")
        if name not in known:
            raise InvalidArgument(
                "shares", f"{each!r} names no kind; give one of {', '.join(known)}, such as rapped=0.2"
            )
        try:
            found[f"{name}_share"] = float(share)
        except ValueError:
            raise InvalidArgument("shares", f"{each!r} has no number after the '='; give a share from 0 to 1") from None
    return found


def _print_singing(built: "Corpus") -> None:
    console.print_table(
        f"{built.folder}, fingerprint {built.manifest['fingerprint'][:12]}",
        ["split", "clips#", "hours#", "vocal frames#", "speakers#"],
        [
            [split, str(each["clips"]), f"{each['hours']:.2f}", f"{each['vocal_fraction']:.0%}", str(each["speakers"])]
            for split, each in built.manifest["splits"].items()
        ],
    )


@app.command()
def replay(
    out: Annotated[Path, typer.Argument(help="Folder of the corpus.")],
    size: Annotated[str, typer.Option(metavar="small|full|N", help="A few dozen trials, 5 800, or about N.")] = "full",
    speech: Annotated[
        Path | None,
        typer.Option(help="Folder with clean recordings, a folder for each speaker. Default: synthetic voices."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal bytes.")] = 0,
    workers: Annotated[int, typer.Option("--workers", "-j", min=1, help="Processes.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Replace another corpus that is there.")] = False,
    json_output: Json = False,
) -> None:
    """Build the corpus of genuine and replayed speech: simulated, in the layout of ASVspoof 2017 (version 2).

    Genuine: a speaker in a room, recorded. Replayed: an attacker records the same words, possibly stores them as MP3 or
    in another codec, and plays them to the microphone through a loudspeaker. Speakers, rooms, microphones and
    loudspeakers of one split occur in no other, except that half of dev is recorded with those of train; eval is
    entirely new.

    The protocols name them by kind: P07-phone, P31-laptop, P12-portable and P40-hifi are loudspeakers, E03-office a
    room, R05-headset a microphone. trials.jsonl describes the whole path of each file, manifest.json every device.

    The full corpus takes about ten minutes on one idle core. An interrupted build resumes; a complete one is left as it
    is.

    [bold]Examples[/bold]

      earwitness corpus replay replayed -j 4

      earwitness corpus replay a-tenth --size 580 --seed 7

      earwitness corpus replay mine --speech recordings --seed 1
    """
    with extra("train"):
        from earwitness.training.corpus.replay import ReplayConfig, build_replay_corpus

        config = ReplayConfig.of_size(size, seed)
        with console.progress("corpus") as update:
            built = build_replay_corpus(
                config,
                out,
                workers,
                progress=lambda stage, done, total: update(done, total, stage),
                speech=speech,
                force=force,
            )
    if json_output:
        console.print_json({"folder": built.folder, **built.manifest})
    else:
        _print_replayed(built)


def _print_replayed(built: "Corpus") -> None:
    console.print_table(
        f"{built.folder}, fingerprint {built.manifest['fingerprint'][:12]}",
        ["split", "genuine#", "replayed#", "hours#", "speakers#", "replayed by"],
        [
            [
                split, str(each["genuine"]), str(each["spoof"]), f"{each['hours']:.2f}", str(each["speakers"]),
                ", ".join(f"{count} {kind}" for kind, count in each["loudspeaker_kinds"].items()),
            ]
            for split, each in built.manifest["splits"].items()
        ],
    )  # fmt: skip
