"""The directory and the Docker engine of one program of the acceptance."""

import json
import os
import shutil
from contextlib import ExitStack, contextmanager
from functools import cached_property

from harness.engine import Engine
from harness.paths import ACCEPTANCE, REPOSITORY, STORE


class Work:
    """A directory below target/acceptance, with `images/` for its recipes. On leaving, also after a failure or a signal,
    everything that was started is ended and the directory is removed, unless it is to be kept.

    imgforge uses the store that all programs share, or with `own_store` one in the directory.
    """

    def __init__(self, name, own_store=False, is_kept=False):
        self.directory = ACCEPTANCE / name
        self.is_kept = is_kept
        self.stack = ExitStack()
        self.store = self.directory / "store" if own_store else STORE
        os.environ["IMGFORGE_CACHE_DIR"] = str(self.store)

    def __enter__(self):
        if not self.is_kept:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True, exist_ok=True)
        shutil.copytree(REPOSITORY / "images", self.directory / "images", dirs_exist_ok=True)
        return self

    def __exit__(self, *exception):
        return self.stack.__exit__(*exception)

    def recipe(self, name, keys):
        """Writes a recipe of these keys; JSON is YAML too."""
        path = self.directory / f"{name}.yaml"
        path.write_text(json.dumps(keys))
        return path

    @contextmanager
    def loaded(self, archive):
        """The engine with the image of an archive, in whose place it is; the image is removed afterwards."""
        self.engine.load(archive)
        archive.unlink()
        try:
            yield self.engine
        finally:
            self.engine.docker("rmi", "--force", self.engine.image)

    @cached_property
    def engine(self):
        return self.stack.enter_context(Engine(self.directory / "docker"))
