"""The folder of imported feature sets: one sub-folder each, arrays memory-mapped, replaced only as a whole.

<root>/<name>/manifest.json           names the content folder; replaced atomically, so a feature set is always
<root>/<name>/content_<random>/       the old one or the new one, even after a kill in the middle of --force
    ids.json  train.safetensors  valid.safetensors  test.safetensors
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from dmd_repro.data.features import Features, FeatureSet, TextKind
from dmd_repro.data.formats.incoming import Incoming, describe
from dmd_repro.data.store.digest import array_digest, features_digest, ids_digest, split_digest
from dmd_repro.data.store.disk import alone, disk, no_link, verified, write_text
from dmd_repro.data.store.manifest import Manifest
from dmd_repro.data.store.tensors import map_tensors, write_tensors
from dmd_repro.data.store.unknown import unknown_set
from dmd_repro.disk import fsync_folder, parse_json
from dmd_repro.errors import DataError
from dmd_repro.shapes import MODALITIES, SPLITS

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
_RESERVED = "synthetic"


class Store:
    """Feature sets by name under one folder, which need not exist before the first import."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def names(self) -> list[str]:
        """Return the names held, sorted."""
        with disk(self.root, "Check the folder's permissions"):
            if not self.root.is_dir():
                return []
            return sorted(p.parent.name for p in self.root.glob("*/manifest.json") if _NAME.fullmatch(p.parent.name))

    def manifest(self, name: str) -> Manifest:
        """Return a feature set's facts without opening its arrays; DataError if unknown or damaged."""
        if not _NAME.fullmatch(name) or name.partition("-")[0] == _RESERVED:
            raise unknown_set(name, self.root, self.names())
        path = self.root / name / "manifest.json"
        with disk(path, "Check the folder's permissions"):
            no_link(path.parent, path)
            if not path.is_file():
                raise unknown_set(name, self.root, self.names())
            text = path.read_bytes()
        try:
            data = parse_json(text)
        except ValueError as error:
            raise DataError.at(
                str(path), expected="JSON", got=str(error)[:80], do="Import this feature set again with --force"
            ) from error
        manifest = Manifest.from_json(str(path), data)
        if manifest.name != name:
            raise DataError.at(
                str(path), expected=f"the name '{name}'", got=f"'{manifest.name}'", do="Rename the folder back"
            )
        return manifest

    def open(self, name: str, text: TextKind | None = None, *, verify: bool | None = None) -> Features:
        """Open a feature set, memory-mapped and read-only; `text` None takes GloVe, else hidden states, else token ids.

        Each array is compared with its digest (one pass over the files), once a process as long as the files stay as
        they are; `verify` True does so again, False (for planning) not at all: the digest is then the manifest's.
        Raises DataError if the name or the kind of text is unknown, or if a file is missing or changed.
        """
        manifest = self.manifest(name)
        kind = text or manifest.texts[0]
        if kind not in manifest.texts:
            raise DataError.at(
                f"feature set '{name}'",
                expected=f"{kind} text",
                got=f"a file with {' and '.join(manifest.texts)} text only",
                do=f"Choose --text {manifest.texts[0]}, or import a file that holds {kind} text",
            )
        ids = self._ids(manifest)
        splits = {s: self._split(manifest, s, ids[s], kind, verify) for s in SPLITS}
        digest = features_digest({s: splits[s].digest for s in SPLITS})
        if digest != manifest.digests[kind]:
            raise self._changed(manifest, "a manifest whose digests disagree")
        return Features(
            name=name,
            dataset=manifest.dataset,
            text=kind,
            aligned=manifest.aligned,
            standing=manifest.standing,
            splits=splits,
            digest=digest,
        )

    def write(self, name: str, incoming: Incoming, *, force: bool = False) -> Manifest:
        """Store a validated feature set under a name, all or nothing; returns its manifest.

        The same content under the same name is kept as it is. Raises DataError if the name holds other content and
        `force` is not given, if another import holds the lock, or if the disk refuses.
        """
        home = self.root / check_name(name)
        manifest = describe(name, incoming)
        with disk(home, "Free some space or choose another --data-dir; nothing was changed"):
            self.root.mkdir(parents=True, exist_ok=True)
            no_link(home)
            with alone(self.root / f".{name}.lock"):
                if not force and (home / "manifest.json").exists():
                    held = self.manifest(name)
                    if (held.digest, held.dataset) == (manifest.digest, manifest.dataset):
                        return held
                    raise DataError.at(
                        f"feature set '{name}'",
                        expected="a free name",
                        got="one that holds other content",
                        do="Give another --name, or --force to replace it",
                    )
                self._write(home, manifest, incoming)
        return manifest

    def remove(self, name: str) -> None:
        """Remove a feature set, damaged or not: at once by a new name, so that a kill leaves the whole set or none.

        Raises DataError if it is unknown, if an import of that name is at work, or if the disk refuses.
        """
        if name not in self.names():
            raise unknown_set(name, self.root, self.names())
        home, gone = self.root / name, self.root / f".{name}.removed"
        with disk(home, "Check the folder's permissions"):
            no_link(home, gone)
            with alone(self.root / f".{name}.lock"):
                if gone.exists():  # left by a kill
                    shutil.rmtree(gone)
                home.rename(gone)
                fsync_folder(self.root)
                shutil.rmtree(gone)

    def _write(self, home: Path, manifest: Manifest, incoming: Incoming) -> None:
        fresh = not home.exists()
        content, draft = home / manifest.content, home / f"manifest.{manifest.content}.tmp"
        done = False
        try:
            content.mkdir(parents=True)
            for split, part in incoming.splits.items():
                write_tensors(content / f"{split}.safetensors", part.arrays, manifest.arrays[split])
            write_text(content / "ids.json", json.dumps({s: p.ids for s, p in incoming.splits.items()}))
            fsync_folder(content)
            write_text(draft, json.dumps(manifest.to_json(), indent=1))
            draft.replace(home / "manifest.json")
            done = True
            fsync_folder(home)
            fsync_folder(home.parent)
        finally:  # also on Ctrl-C: what is not named by a manifest goes
            if not done:
                draft.unlink(missing_ok=True)
                shutil.rmtree(content, ignore_errors=True)
                if fresh and home.is_dir() and not any(home.iterdir()):
                    home.rmdir()
        for other in home.iterdir():  # left by a kill, or replaced just now (open maps stay valid)
            if other.name.startswith("content_") and other != content:
                shutil.rmtree(other, ignore_errors=True)
            elif other.suffix == ".tmp":
                other.unlink(missing_ok=True)
        shutil.rmtree(self.root / f".{manifest.name}.removed", ignore_errors=True)  # of a killed removal

    def _ids(self, manifest: Manifest) -> dict[str, tuple[str, ...]]:
        path = self.root / manifest.name / manifest.content / "ids.json"
        try:
            data = parse_json(path.read_bytes())
            ids = {s: tuple(str(i) for i in data[s]) for s in SPLITS}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._changed(manifest, f"ids.json that cannot be read ({error})") from error
        for split in SPLITS:
            if ids_digest(ids[split]) != manifest.arrays[split].get("ids"):
                raise self._changed(manifest, f"other ids in {split} than were imported")
        return ids

    def _split(
        self, manifest: Manifest, split: str, ids: tuple[str, ...], kind: str, verify: bool | None
    ) -> FeatureSet:
        path = self.root / manifest.name / manifest.content / f"{split}.safetensors"
        no_link(path.parent, path)
        arrays, stored = map_tensors(path), manifest.arrays[split]
        language = f"language_{kind}"
        wanted = [language, "acoustic", "visual", "labels", *(f"lengths_{m}" for m in MODALITIES)]
        for name in wanted:
            if name not in arrays or name not in stored:
                raise self._changed(manifest, f"{path.name} without {name}")
            if verify is False or (verify is None and verified.holds(path, name, stored[name])):
                continue
            if array_digest(arrays[name]) != stored[name]:
                raise self._changed(manifest, f"other bytes in {name} of {path.name} than were imported")
            verified.add(path, name, stored[name])
        return FeatureSet(
            ids=ids,
            language=arrays[language],
            acoustic=arrays["acoustic"],  # type: ignore[arg-type]
            visual=arrays["visual"],  # type: ignore[arg-type]
            lengths={m: arrays[f"lengths_{m}"] for m in MODALITIES},  # type: ignore[misc]
            labels=arrays["labels"],  # type: ignore[arg-type]
            aligned=manifest.aligned,
            digest=split_digest(stored, language),
        )

    def _changed(self, manifest: Manifest, got: str) -> DataError:
        return DataError.at(
            f"feature set '{manifest.name}' in {self.root}",
            expected="the content that was imported",
            got=got,
            do="Import it again with --force",
        )


def check_name(name: str) -> str:
    """Return the name if it can name a feature set; DataError otherwise (a path, too long, reserved)."""
    if not _NAME.fullmatch(name) or name.split("-")[0] == _RESERVED:
        got = "a name kept for generated data" if name.split("-")[0] == _RESERVED else repr(name)
        raise DataError.at(
            f"feature set '{name}'",
            expected="a name of letters, digits, '-', '_' and '.' that starts with a letter or digit",
            got=got,
            do="Choose another --name",
        )
    return name
