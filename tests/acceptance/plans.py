"""The plan alone determines an image: a second process writes every recipe's image from the JSON of its plan.

It has the wheels and the base's packages in a store of its own, and neither recipe, nor lock, nor package index.
"""

import json
import shutil

from harness import program
from harness.cargo import built
from harness.imgforge import build, imgforge
from harness.paths import REPOSITORY
from harness.processes import run
from harness.report import figure, require
from harness.store import blob_path, link
from harness.work import Work

RECIPES = {path.stem: path for path in sorted((REPOSITORY / "recipes").glob("*.yaml"))}


def realized(recipe, work):
    """The digest of the image that a second process makes of the recipe's plan."""
    printed = json.loads(imgforge("plan", recipe, "--json"))
    plan = work.directory / "plan.json"
    plan.write_text(json.dumps({"plan": printed["plan"]}))
    store = work.directory / "wheels-and-packages"
    try:
        for digest in parts(printed["plan"]):
            blob = blob_path(store, digest)
            blob.parent.mkdir(parents=True, exist_ok=True)
            link(blob_path(work.store, digest), blob)
        figure("blobs given", len(list((store / "blobs" / "sha256").iterdir())))
        return run(built("example", "realize"), plan, store, timeout=None).strip()
    finally:
        shutil.rmtree(store, ignore_errors=True)


def parts(plan):
    """The digests of the wheels and packages of a plan."""
    wheels = {wheel["wheel"] for layer in plan["layers"] for wheel in layer.get("wheels", [])}
    debs = {deb["deb"] for layer in plan["layers"] if "base" in layer for deb in layer["base"]["packages"]}
    return wheels | debs


def check(recipe, work):
    expected = build(recipe, f"oci:{work.directory / 'built'}:latest", "--no-check").digest
    digest = realized(recipe, work)
    figure(recipe.stem, digest)
    require(digest == expected, f"the plan of {recipe.name} gives {digest}, the recipe {expected}")


def main():
    names = program.step_names("acceptance/plans", __doc__, RECIPES)
    with Work("plans") as work:
        program.perform({name: lambda work, name=name: check(RECIPES[name], work) for name in names}, names, work)


if __name__ == "__main__":
    program.start(main)
