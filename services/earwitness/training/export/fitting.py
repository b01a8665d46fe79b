"""Whether generator, classifier and features fit each other; and whose shape it is that does not."""

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from earwitness.features import FeatureProfile, WaveformProfile
from earwitness.training.export.discovery import first_weighted, run
from earwitness.training.export.errors import ExportError, ShapeError
from earwitness.training.export.wrapping import same_in_channels


def fit_latent(generator: nn.Module, latent_size: int) -> tuple[nn.Module, Tensor]:
    """A generator that takes z `[B, Z]`, wrapped if it wants `[B, Z, 1, 1]`; and what it made of two latents.

    Raises: ShapeError when it takes neither.
    """
    z = torch.randn(2, latent_size, generator=torch.Generator().manual_seed(0))
    try:
        return generator, run("generator", generator, z)
    except ShapeError as flat:
        wrapped = nn.Sequential(nn.Unflatten(1, (latent_size, 1, 1)), generator).eval()
        try:
            return wrapped, run("generator", wrapped, z)
        except ShapeError as square:
            raise (square if isinstance(first_weighted(generator), _ConvNd) else flat) from None


def require_spectrograms(x: Tensor, latent_size: int, profile: FeatureProfile | None) -> None:
    """Raises: ShapeError unless the generator made `x` of two latents as spectrograms, or as waveforms where they are
    the features, of the shape (bands, frames) of the profile's excerpts where that is known."""
    if not isinstance(profile, WaveformProfile) and (x.ndim == 2 or (x.ndim == 3 and x.shape[1] == 1)):
        raise ShapeError(
            f"generator: z [2, {latent_size}] became {list(x.shape)}, which looks like waveforms, expected "
            "spectrograms, [2, 1, bands, frames] or [2, bands, frames]; networks of waveforms need features of kind "
            "waveform (`WaveformProfile`)"
        )
    if x.ndim not in (3, 4) or x.shape[0] != 2 or (x.ndim == 4 and x.shape[1] != 1):
        raise ShapeError(
            f"generator: z [2, {latent_size}] became {list(x.shape)}, expected [2, 1, bands, frames] or "
            "[2, bands, frames]"
        )
    shape = tuple(x.shape[-2:])
    if profile is None or shape == tuple(excerpt := profile.excerpt_shape):
        return
    if shape[::-1] == tuple(excerpt):
        raise ShapeError(
            f"generator: returns {list(shape)}, and profile {profile.name!r} has {list(excerpt)} bands × frames: time "
            "and bands are swapped; say swap_axes='generator' (--swap-axes generator), 'both' if the classifier's "
            "are too"
        )
    raise ShapeError(
        f"features: profile {profile.name!r} has excerpts of {list(excerpt)} bands × frames, the "
        f"generator returns {list(shape)}; export with the profile the networks were trained on"
    )


def fit_channel(generator: nn.Module, classifier: nn.Module, x: Tensor) -> tuple[nn.Module, Tensor]:
    """A generator whose output `x` the classifier takes: `[B, 1, bands, frames]` or `[B, bands, frames]`.

    Raises: ShapeError when it takes neither, with the way out where it is known.
    """
    try:
        run("classifier", classifier, x)
        return generator, x
    except ShapeError as err:
        adapter = nn.Flatten(1, 2) if x.ndim == 4 else nn.Unflatten(1, (1, x.shape[1]))
        try:
            run("classifier", classifier, adapter(x))
        except ShapeError:
            if not isinstance(err.__cause__, RuntimeError | ValueError | AssertionError):
                raise err from err.__cause__  # nothing that another shape would mend
            raise ShapeError(f"{err}{_way_out(classifier, x)}") from err.__cause__
        return nn.Sequential(generator, adapter).eval(), adapter(x)


def _way_out(classifier: nn.Module, x: Tensor) -> str:
    """What the classifier takes instead of `x`, and how to say it."""
    bands, frames = x.shape[-2:]
    plain = x.reshape(2, bands, frames)
    first = first_weighted(classifier)
    swapped = plain.transpose(1, 2)
    if bands != frames and any(_takes(classifier, each) for each in (swapped, swapped.unsqueeze(1))):
        return (
            f". It takes {frames} × {bands}: time and bands are swapped; say swap_axes='classifier' "
            "(--swap-axes classifier)"
        )
    channels = getattr(first, "in_channels", 1) if isinstance(first, nn.Conv2d) else 1
    for count in dict.fromkeys((channels, 3)):
        if count > 1 and _takes(classifier, same_in_channels(plain, count)):
            return (
                f". It takes {count} channels; say channels={count} (--channels {count}) if each is to get the same "
                "spectrogram"
            )
    if (isinstance(first, nn.Conv1d) and first.in_channels == 1) or _takes(classifier, torch.randn(2, 16_000)):
        return (
            ". It looks as if it takes waveforms, [B, samples] or [B, 1, samples]: those need features of kind "
            "waveform, and a generator of waveforms"
        )
    return f". The generator's {bands} × {frames} is given: what the classifier takes has to be the same features"


def _takes(classifier: nn.Module, x: Tensor) -> bool:
    try:
        run("classifier", classifier, x)
    except ExportError:
        return False
    return True
