"""Are the files of a model repository those that were exported? Told by the digests that each bundle carries."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from earwitness.inference.metadata import BundleMetadata, bundle_name, find_bundles, warn_once
from earwitness.inference.repository import ServedModel, parameters_of, read_contents

STAMP = "`earwitness stamp` writes them"


@dataclass(frozen=True)
class Inventory:
    """What of a repository can be run. `models` are the ONNX models, those of the bundles and of nobody, by name.

    `bundles` are sorted by name and as they were exported, as far as can be told: those in `undigested`, of earlier
    versions, have nothing to tell it by. `left_out` are bundles that are there and cannot be used, by name with the
    reason, `odd` the folders that are no models, by path with the reason.
    """

    models: Mapping[str, ServedModel]
    bundles: tuple[BundleMetadata, ...]
    undigested: tuple[str, ...]
    left_out: Mapping[str, str]
    odd: Mapping[str, str]

    def digest(self, served_name: str) -> str | None:
        """The SHA-256 that the file of a served model must have; None if none is recorded."""
        for bundle in self.bundles:
            for role in bundle.roles:
                if bundle.served_name(role) == served_name and bundle.model_sha256 is not None:
                    return bundle.model_sha256[role]
        return None


def take_inventory(repository: Path) -> Inventory:
    """Read a repository, check every file against its digest, and log every problem.

    Files of bundles without digests are loaded, the only check that there is.

    Raises: RepositoryError when `repository` cannot be read, or holds no ONNX model.
    """
    contents = read_contents(repository)
    elsewhere = {
        name: f"runs in the Triton that serves the registered classifier ({kind}), not from this folder alone: "
        "`earwitness up --triton HOST:PORT`"
        for name, kind in contents.foreign.items()
    }
    found = find_bundles(parameters_of(contents.models), unready={**contents.left_out, **elsewhere})
    left_out = dict(found.left_out)
    usable = []
    for bundle in found.usable:
        wrong = wrong_files(bundle, contents.models)
        if wrong:
            left_out[bundle.name] = "; ".join(wrong)
            warn_once(f"models/{bundle.name} is left out: {left_out[bundle.name]}")
        else:
            usable.append(bundle)
    undigested = tuple(bundle.name for bundle in usable if bundle.model_sha256 is None)
    for name in undigested:
        warn_once(f"models/{name} in {repository} carries no digests of its files, which cannot be checked: {STAMP}")
    odd = {folder: why for folder, why in contents.left_out.items() if bundle_name(folder) == folder}
    for folder, why in odd.items():
        warn_once(f"{repository / folder} is left out: {why}")
    models = {name: model for name, model in contents.models.items() if bundle_name(name) not in left_out}
    return Inventory(models, tuple(usable), undigested, left_out, odd)


def wrong_files(bundle: BundleMetadata, models: Mapping[str, ServedModel]) -> list[str]:
    """What is wrong with the files of a bundle among `models`, in words."""
    wrong = []
    for role in bundle.roles:
        model = models[bundle.served_name(role)]
        if bundle.model_sha256 is None:
            wrong += _loading_fails(model)
            continue
        file, expected = model.model_file, bundle.model_sha256[role]
        try:
            found = file_sha256(file)
        except OSError as err:
            wrong.append(f"{file} cannot be read: {err.strerror}")
            continue
        if found != expected:
            wrong.append(mismatch(file, expected, found))
    return wrong


def mismatch(file: Path, expected: str, found: str) -> str:
    """Words for a file that is not the one that was exported."""
    return (
        f"{file} is not the file that was exported (SHA-256 {found[:12]}, its config.pbtxt says {expected[:12]}): it "
        "is damaged, cut off or of other weights; put the right one back, or export the model again"
    )


def unloadable(file: Path, err: Exception) -> str:
    """Words for a file that ONNX Runtime does not load."""
    return f"{file} cannot be loaded ({err}); put the right one back, or export the model again"


def _loading_fails(model: ServedModel) -> list[str]:
    from earwitness.inference.session import OnnxSession, SessionSettings  # which most repositories do without

    try:
        session = OnnxSession(model.model_file, SessionSettings.from_parameters(model.parameters))
        session.close()
    except Exception as err:  # ONNX Runtime's exceptions share no base of their own
        return [unloadable(model.model_file, err)]
    for what, declared, found in zip(
        ("inputs", "outputs"), (model.inputs, model.outputs), session.ports(), strict=True
    ):
        expected = {spec.name: spec.shape for spec in declared}
        unknown = found.keys() - expected.keys() if what == "inputs" else ()
        if unknown or not all(name in found and _fits(found[name], shape) for name, shape in expected.items()):
            return [
                f"{model.model_file} has the {what} {dict(found)}, its config.pbtxt says {expected}: it is of another "
                "model; put the right one back, or export the model again"
            ]
    return []


def _fits(found: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    sizes = zip(found, declared, strict=False)
    return len(found) == len(declared) and all(-1 in pair or len({*pair}) == 1 for pair in sizes)


def file_sha256(file: Path) -> str:
    """The SHA-256 of a file, lower-case hex. Raises: OSError."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
