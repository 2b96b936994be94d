"""Bundles of versions: written at registration, joined with other models' bundles for serving."""

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from features.history import FOLD_VERSION
from sensei.app_state import TRIAL
from sensei.bundle import bundle_format
from sensei.bundle.bundle_format import Bundle
from sensei.bundle.manifest import Manifest
from sensei.errors import IncompatibleBundle
from sensei.events.log import Log
from sensei.model_name import ModelName
from sensei.pruning import keep_newest
from training.release import ledger
from training.tracking.registry import Registry


def bundle_with(log: Log, registry: Registry, folder: Path, versions: Mapping[str, str]) -> str:
    """Write a bundle of given versions and, for the other models, of their champions.

    Args:
        log: its ledger names the champions.
        registry: knows the bundle that a version was exported to.
        folder: folder of the bundles.
        versions: model name -> version.

    Returns:
        Digest of the bundle; the same versions give the same digest.

    Raises:
        IncompatibleBundle: no usable bundle of one of the versions exists.
        StorageUnavailable: the bundle cannot be written.
    """
    lines = ledger.read(log)
    bundles = {}
    for model_name, version in sorted({**ledger.champions(lines), **versions}.items()):
        serving_digests = [line.bundle for line in lines if line.is_of(model_name, version)]
        version_digest = registry.bundle(model_name, version)
        digests = (
            [version_digest, *reversed(serving_digests)]
            if version_digest
            else reversed(serving_digests)
        )
        bundles[model_name] = _load(folder, model_name, version, digests)
    return _join(folder, bundles)


def _load(folder: Path, model_name: str, version: str, digests: Iterable[str]) -> Bundle:
    """Load the first of some bundles that exists and contains the version."""
    cause = ""
    for digest in digests:
        if not (folder / digest).is_dir():
            continue
        try:
            bundle = Bundle.load(folder / digest, FOLD_VERSION)
        except IncompatibleBundle as error:
            cause = f" ({error})"
            continue
        entry = bundle.manifest.models.get(model_name)
        if entry and entry.version == version:
            return bundle
    raise IncompatibleBundle(
        f"{model_name} {version}: expected its bundle in {folder}, got no usable one{cause}; "
        "restore it from a copy, or train again"
    )


def _join(folder: Path, bundles: Mapping[str, Bundle]) -> str:
    """Write a bundle that takes each model from another bundle."""
    manifest = Manifest(
        fold_version=FOLD_VERSION,
        models={name: bundle.manifest.models[name] for name, bundle in bundles.items()},
        created_at=max(bundle.manifest.created_at for bundle in bundles.values()),
    )
    networks = {name: bundle.networks[name] for name, bundle in bundles.items()}
    statistics = {name: bundle.statistics[name] for name, bundle in bundles.items()}
    path = bundle_format.write(folder, manifest, networks, statistics)
    os.utime(path)  # marks an old bundle as recent, see `prune`
    return path.name


def used(log: Log, registry: Registry) -> set[str]:
    """Return the digests of bundles that serve, served, are in an A/B test or await a decision."""
    trial = log.get_fact(TRIAL)
    digests = {line.bundle for line in ledger.read(log)} | {log.pointer()}
    if trial:
        digests.add(trial["bundle"])
    for model_name in ModelName:
        challenger = registry.challenger(model_name)
        digests.add(registry.bundle(model_name, challenger) if challenger else None)
    return {digest for digest in digests if digest}


def prune(folder: Path, used: Collection[str], newest: int) -> list[str]:
    """Remove bundles that nothing refers to, except the newest.

    Args:
        folder: folder of the bundles.
        used: digests that are kept at any age.
        newest: number of other bundles that are kept.

    Returns:
        Digests of the removed bundles.
    """
    unused = [path for path in _digests(folder) if path.name not in used]
    return [path.name for path in keep_newest(unused, newest)]


def _digests(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if re.fullmatch("[0-9a-f]{64}", path.name))
