//! Matrices: many images of one recipe, on one machine or on several that share nothing but a registry.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use imgforge::oci::Digest;
use serde_json::{Value, json};

use crate::support::registry::{Registry, Reply};
use crate::support::wheel::Wheel;
use crate::support::{Outcome, World, run};

const CACHE: &str = "team/cache";

const MATRIX: &str = "\
recipe: recipe.yaml
matrix:
  frameworks.alpha: [\"1.0\", \"2.0\", \"3.0\"]
  frameworks.beta: [null, \"1.0\"]
  exclude: [{frameworks.alpha: \"3.0\", frameworks.beta: \"1.0\"}]
  include: [{frameworks.alpha: \"3.0\", config.user: \"1000\"}]
name: a{frameworks.alpha}-b{frameworks.beta}
";

/// The names of its images.
const NAMES: [&str; 5] = ["a1.0-bnone", "a1.0-b1.0", "a2.0-bnone", "a2.0-b1.0", "a3.0-bnone"];

/// A world with the projects of the matrix, and `matrix.yaml`.
fn world() -> World {
    let mut world = World::new();
    for version in ["1.0", "2.0", "3.0"] {
        world.publish(Wheel::new("alpha", version).file("alpha.py", format!("V = '{version}'\n")));
    }
    world.publish(Wheel::new("beta", "1.0").file("beta.py", "B = 1\n"));
    world.recipe("packages: [wholesome]\n");
    world.write("matrix.yaml", MATRIX);
    world
}

/// The same, with a lock for each image.
fn locked() -> World {
    let world = world();
    let locked = world.run(&["matrix", "lock", "matrix.yaml"]);
    assert_eq!(locked.code, 0, "{locked}");
    world
}

/// The plan of the matrix as JSON.
fn plan(world: &World, arguments: &[&str]) -> Value {
    let planned = world.run(&[&["matrix", "plan", "matrix.yaml", "--json"], arguments].concat());
    assert_eq!(planned.code, 0, "{planned}");
    serde_json::from_str(&planned.stdout).unwrap()
}

/// Runs a command on the machine of a store of its own, with the registry's cache.
fn on(world: &World, machine: &str, registry: &Registry, arguments: &[&str]) -> Outcome {
    let cache = registry.place(CACHE);
    let mut command = world.command(&[&["matrix"], arguments, &["--locked", "--cache", &cache]].concat());
    run(command.env("IMGFORGE_CACHE_DIR", world.path(&format!("store-{machine}"))))
}

#[track_caller]
fn succeed(outcome: Outcome) -> Outcome {
    assert_eq!(outcome.code, 0, "{outcome}");
    outcome
}

/// The digests of the images that a command printed, by their names.
fn digests(outcome: &Outcome) -> BTreeMap<String, Digest> {
    let line = |line: &str| {
        let (digest, name) = line.split_once(' ').unwrap();
        (name.to_owned(), digest.parse().unwrap())
    };
    outcome.stdout.lines().map(line).collect()
}

/// The wheels that were fetched since the last call, each as often as that.
fn fetched(world: &World) -> Vec<String> {
    let requests = world.server.take_requests();
    let wheels = requests.iter().filter_map(|request| request.split("/files/").nth(1));
    let mut wheels: Vec<String> = wheels
        .filter(|file| file.ends_with(".whl"))
        .map(|file| file.split(' ').next().unwrap().to_owned())
        .collect();
    wheels.sort();
    wheels
}

#[test]
fn every_image_is_what_its_values_make_of_the_recipe() {
    let world = locked();
    let built = succeed(world.run(&["matrix", "images", "matrix.yaml", "--locked"]));
    let digests = digests(&built);
    assert_eq!(digests.keys().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(NAMES));
    for (name, digest) in &digests {
        let index = fs::read_to_string(world.path(&format!("out/{name}/index.json"))).unwrap();
        assert!(index.contains(&digest.to_string()), "{name}");
    }
    // Written by hand, a recipe gives the same image.
    world.recipe("packages: [wholesome]\nframeworks: {alpha: \"2.0\", beta: \"1.0\"}\n");
    assert_eq!(world.build().check_success(), digests["a2.0-b1.0"]);
    world.recipe("packages: [wholesome]\nframeworks: {alpha: \"3.0\"}\nconfig: {user: \"1000\"}\n");
    assert_eq!(world.build().check_success(), digests["a3.0-bnone"]);
}

#[test]
fn the_plan_tells_images_and_layers_and_each_layer_once() {
    let world = locked();
    let planned = plan(&world, &["--locked", "--shards", "2"]);
    let images = planned["images"].as_array().unwrap();
    assert_eq!(images.iter().map(|image| image["name"].as_str().unwrap()).collect::<Vec<_>>(), NAMES);
    assert_eq!(
        images[4]["values"],
        json!({"frameworks.alpha": "3.0", "frameworks.beta": "none", "config.user": "1000"})
    );
    let layers = planned["layers"].as_array().unwrap();
    let keys: BTreeSet<&str> = layers.iter().map(|layer| layer["key"].as_str().unwrap()).collect();
    let of_images: BTreeSet<&str> = images
        .iter()
        .flat_map(|image| image["layers"].as_array().unwrap())
        .map(|key| key.as_str().unwrap())
        .collect();
    assert_eq!((keys.len(), &keys), (layers.len(), &of_images));
    let shared = layers.iter().filter(|layer| layer["images"] == 5).count();
    assert!(shared >= 2, "the base and `wholesome` are in all images: {planned:#}");
    let ahead: BTreeSet<&str> = layers
        .iter()
        .filter(|layer| layer["ahead"] == true)
        .map(|layer| layer["key"].as_str().unwrap())
        .collect();
    let shards = planned["shards"].as_array().unwrap();
    let in_shards: Vec<&str> = shards
        .iter()
        .flat_map(|shard| shard["layers"].as_array().unwrap())
        .map(|key| key.as_str().unwrap())
        .collect();
    assert_eq!(in_shards.len(), ahead.len(), "no layer is in two shards");
    assert_eq!(in_shards.into_iter().collect::<BTreeSet<_>>(), ahead);
    let table = succeed(world.run(&["matrix", "plan", "matrix.yaml", "--locked"]));
    for said in ["a1.0-bnone", "frameworks.alpha 3.0", "config.user 1000", "different ones"] {
        assert!(table.stdout.contains(said), "{table}");
    }
}

#[test]
fn machines_that_share_a_registry_fetch_each_wheel_once_and_make_the_same_images() {
    let world = locked();
    let alone = digests(&succeed(world.run(&["matrix", "images", "matrix.yaml", "--locked"])));
    world.write("matrix.yaml", MATRIX.to_owned() + "destination: docker://HOST/team/{name}:v1\n");
    let registry = Registry::start();
    let text = fs::read_to_string(world.path("matrix.yaml")).unwrap().replace("HOST", &registry.host());
    world.write("matrix.yaml", text);
    world.server.take_requests();
    let machines = ["1/3", "2/3", "3/3"];
    for shard in machines {
        let machine = &shard[..1];
        succeed(on(&world, machine, &registry, &["layers", "matrix.yaml", "--shard", shard]));
    }
    let wheels = fetched(&world);
    let once: BTreeSet<&String> = wheels.iter().collect();
    assert_eq!((wheels.len(), once.len()), (5, 5), "{wheels:?}");
    let planned = {
        let cache = registry.place(CACHE);
        plan(&world, &["--locked", "--cache", &cache])
    };
    let ahead = planned["layers"].as_array().unwrap().iter().filter(|layer| layer["ahead"] == true);
    assert!(ahead.into_iter().all(|layer| layer["cached"] == true), "{planned:#}");
    let mut together = BTreeMap::new();
    for shard in machines {
        let machine = format!("images-{}", &shard[..1]);
        let built = succeed(on(&world, &machine, &registry, &["images", "matrix.yaml", "--shard", shard]));
        for (name, digest) in digests(&built) {
            assert_eq!(together.insert(name, digest), None);
        }
    }
    assert!(fetched(&world).is_empty(), "images are made of what the cache has");
    assert_eq!(together, alone);
    for name in NAMES {
        assert_eq!(registry.content().tags(&format!("team/{name}")), ["v1"]);
    }
}

#[test]
fn a_shard_that_is_run_again_makes_nothing_again() {
    let world = locked();
    let registry = Registry::start();
    let first = succeed(on(&world, "1", &registry, &["layers", "matrix.yaml"]));
    assert!(!first.stdout.contains("of which 0 were put"), "{first}");
    world.server.take_requests();
    registry.take_calls();
    let second = succeed(on(&world, "2", &registry, &["layers", "matrix.yaml"]));
    assert!(second.stdout.contains("of which 0 were put"), "{second}");
    assert!(world.server.take_requests().is_empty());
    assert!(registry.take_calls().iter().all(|call| call.method == "GET" || call.method == "HEAD"));
}

#[test]
fn a_cache_that_takes_nothing_fails_the_shard() {
    let world = locked();
    let registry = Registry::twisted(|call, _| (call.method == "PUT").then(|| Reply::error(403, "DENIED")));
    let refused = on(&world, "1", &registry, &["layers", "matrix.yaml"]);
    refused.check_failure(1, &["could not put all layers into the cache"]);
    let mut without = world.command(&["matrix", "layers", "matrix.yaml", "--locked"]);
    run(&mut without).check_failure(1, &["there is no cache to put layers into", "--cache docker://"]);
}

#[test]
fn one_image_that_fails_stops_no_other() {
    let world = world();
    world.write("matrix.yaml", MATRIX.replace("\"2.0\"", "\"9.0\""));
    let built = world.run(&["matrix", "images", "matrix.yaml"]);
    assert_eq!(built.code, 1, "{built}");
    assert_eq!(digests(&built).len(), 3, "{built}");
    for said in ["image `a9.0-bnone`", "2 images were not built", "hint: "] {
        assert!(built.stderr.contains(said), "{built}");
    }
}

#[test]
fn locks_lie_beside_the_matrix_and_are_required_where_that_is_asked() {
    let world = world();
    let missing = world.run(&["matrix", "plan", "matrix.yaml", "--locked"]);
    missing.check_failure(
        2,
        &["there is no lock `matrix.locks/a1.0-bnone.lock`", "imgforge matrix lock matrix.yaml"],
    );
    succeed(world.run(&["matrix", "lock", "matrix.yaml"]));
    let names = fs::read_dir(world.path("matrix.locks")).unwrap();
    let names: BTreeSet<String> =
        names.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect();
    assert_eq!(names, NAMES.iter().map(|name| format!("{name}.lock")).collect());
    let again = succeed(world.run(&["matrix", "lock", "matrix.yaml", "--check"]));
    assert!(again.stderr.contains("5 locks, nothing changed"), "{again}");
    world.write(
        "matrix.yaml",
        MATRIX.replace("include: [", "include: [{frameworks.alpha: \"1.0\", constraints: [wholesome<9]}, "),
    );
    let stale = world.run(&["matrix", "images", "matrix.yaml", "--locked"]);
    assert_eq!(stale.code, 1, "{stale}");
    assert!(stale.stderr.contains("out of date"), "{stale}");
    world.run(&["matrix", "lock", "matrix.yaml", "--check"]).check_failure(1, &["2 of 5 locks would change"]);
}

#[test]
fn locks_of_images_that_the_matrix_no_longer_has_are_removed_and_nothing_else() {
    let world = locked();
    let directory = world.path("matrix.locks");
    let lock = |name: &str| directory.join(format!("{name}.lock"));
    // What is no lock, what no image is called, and a link are somebody's own.
    let kept = ["notes.lock", "README.md", "Copy.lock", "link.lock"];
    fs::write(directory.join("notes.lock"), "not a lock\n").unwrap();
    fs::write(directory.join("README.md"), "").unwrap();
    fs::copy(lock(NAMES[0]), directory.join("Copy.lock")).unwrap();
    std::os::unix::fs::symlink("a1.0-bnone.lock", directory.join("link.lock")).unwrap();
    world.write(
        "matrix.yaml",
        MATRIX
            .replace("[null, \"1.0\"]", "[null]")
            .replace("  exclude: [{frameworks.alpha: \"3.0\", frameworks.beta: \"1.0\"}]\n", ""),
    );
    let gone = ["a1.0-b1.0", "a2.0-b1.0"];
    let check = world.run(&["matrix", "lock", "matrix.yaml", "--check"]);
    check.check_failure(1, &["no image for 2 of its locks", "matrix.locks/a1.0-b1.0.lock"]);
    assert!(check.stderr.contains("would remove matrix.locks/a2.0-b1.0.lock"), "{check}");
    assert!(gone.iter().all(|name| lock(name).exists()), "--check writes nothing");
    let told = succeed(world.run(&["matrix", "lock", "matrix.yaml"]));
    for name in gone {
        assert!(
            told.stderr.contains(&format!("removed matrix.locks/{name}.lock: the matrix has no such image")),
            "{told}"
        );
        assert!(!lock(name).exists());
    }
    assert!(["a1.0-bnone", "a2.0-bnone", "a3.0-bnone"].iter().all(|name| lock(name).exists()));
    assert!(kept.iter().all(|name| directory.join(name).symlink_metadata().is_ok()));
    succeed(world.run(&["matrix", "lock", "matrix.yaml", "--check"]));
}

#[test]
fn what_is_wrong_with_a_value_is_told_where_the_matrix_has_it() {
    let world = world();
    world.write("matrix.yaml", MATRIX.replace("\"2.0\"", "\"not a version\""));
    world.run(&["matrix", "plan", "matrix.yaml"]).check_failure(2, &["matrix.yaml:3:", "not a version"]);
    world.write("matrix.yaml", MATRIX.replace("frameworks.beta: [null", "framework.beta: [null"));
    world.run(&["matrix", "plan", "matrix.yaml"]).check_failure(2, &["matrix.yaml:", "framework.beta"]);
    std::os::unix::fs::symlink("/etc/passwd", world.path("linked.yaml")).unwrap();
    for outside in ["../other.yaml", "/etc/passwd", "linked.yaml"] {
        world.write("matrix.yaml", format!("recipe: {outside}\nmatrix: {{python: [3.11]}}\n"));
        let refused = world.run(&["matrix", "plan", "matrix.yaml"]);
        refused.check_failure(2, &["outside of the matrix's directory", "matrix.yaml:1:9"]);
        assert!(!refused.stderr.contains("root:"), "{refused}");
    }
    world.write("matrix.yaml", MATRIX.to_owned() + "destination: nowhere:{name}\n");
    world.run(&["matrix", "plan", "matrix.yaml"]).check_failure(2, &["matrix.yaml:8:", "nowhere:"]);
    std::os::unix::fs::symlink("/tmp", world.path("elsewhere")).unwrap();
    for place in
        ["oci:/tmp/imgforge/{name}", "oci-archive:../{name}.tar", "docker-archive:elsewhere/{name}.tar"]
    {
        world.write("matrix.yaml", MATRIX.to_owned() + "destination: " + place + "\n");
        let words = ["matrix.yaml:8:", "is outside of the working directory"];
        world.run(&["matrix", "plan", "matrix.yaml"]).check_failure(2, &words);
        let mine = world.run(&["matrix", "plan", "matrix.yaml", "--output", place]);
        assert_eq!(mine.code, 0, "{mine}");
    }
    world.write("matrix.yaml", MATRIX.to_owned() + "destination: oci:images/{name}\n");
    assert_eq!(world.run(&["matrix", "plan", "matrix.yaml"]).code, 0);
    world.run(&["matrix", "layers", "matrix.yaml", "--shard", "3/2"]).check_failure(2, &["write I/N"]);
}

#[test]
fn a_recipe_may_have_its_matrix_itself() {
    let world = world();
    world.recipe("packages: [wholesome]\nmatrix:\n  frameworks.alpha: [\"1.0\", \"2.0\"]\n");
    let built = succeed(world.run(&["matrix", "images", "recipe.yaml", "-o", "oci:images/{name}:v1"]));
    assert_eq!(digests(&built).into_keys().collect::<Vec<_>>(), ["recipe-1.0", "recipe-2.0"]);
    assert!(world.path("images/recipe-2.0/index.json").is_file());
    // By itself it is the recipe without values.
    world.build().check_success();
}

/// The engines, and the file by which each is judged.
const ENGINES: [(&str, &str); 4] = [
    ("slurm", "jobs.sh"),
    ("kubernetes", "jobs.yaml"),
    ("github", "workflow.yml"),
    ("gitlab", "pipeline.yml"),
];

/// The jobs of the matrix for an engine.
fn emitted(world: &World, engine: &str) -> String {
    let cache = "docker://registry.test/team/cache";
    let options = ["--cache", cache, "-o", "docker://registry.test/images/{name}:v1", "--shards", "3"];
    let command = ["matrix", "emit", engine, "matrix.yaml", "--image", "registry.test/team/builder:1"];
    succeed(world.run(&[&command[..], &options].concat())).stdout
}

#[test]
fn jobs_of_engines_are_these() {
    let world = world();
    for (engine, _) in ENGINES {
        insta::with_settings!({
            prepend_module_to_snapshot => false,
            omit_expression => true,
            snapshot_path => "screens",
        }, {
            insta::assert_snapshot!(format!("jobs-{engine}"), emitted(&world, engine));
        });
    }
    let many = ["matrix", "emit", "github", "matrix.yaml", "--shards", "300"];
    world.run(&many).check_failure(2, &["at most 256 jobs", "--shards 256"]);
    world
        .run(&["matrix", "emit", "kubernetes", "matrix.yaml"])
        .check_failure(2, &["none was named", "--image"]);
}

/// The schemas of GitHub, GitLab and Kubernetes, and the shell's own judge.
#[test]
fn engines_take_their_jobs() {
    let world = world();
    let tools = std::env::var_os("IMGFORGE_TEST_TOOLS").unwrap_or_default();
    let tool = |name: &str| std::path::Path::new(&tools).join(name);
    for (engine, file) in ENGINES {
        let path = world.write(file, emitted(&world, engine));
        let mut judge = match engine {
            "slurm" => std::process::Command::new("shellcheck"),
            "kubernetes" => std::process::Command::new(tool("kubernetes-validate")),
            _ => std::process::Command::new(tool("check-jsonschema")),
        };
        match engine {
            "kubernetes" => judge.arg("--strict"),
            "github" => judge.args(["--builtin-schema", "vendor.github-workflows"]),
            "gitlab" => judge.args(["--builtin-schema", "vendor.gitlab-ci"]),
            _ => &mut judge,
        };
        let judged = match judge.arg(&path).output() {
            Err(_) => {
                eprintln!("skipped: the judge of {engine} is not installed (tests/setup)");
                continue;
            }
            Ok(judged) => judged,
        };
        let said = String::from_utf8_lossy(&judged.stdout) + String::from_utf8_lossy(&judged.stderr);
        assert!(judged.status.success(), "{engine}: {said}");
        // A misspelt key is refused: the judge judges.
        let misspelt = ["completionMode", "runs-on", "script:"]
            .iter()
            .fold(emitted(&world, engine), |text, word| text.replacen(word, &format!("x{word}"), 1));
        if engine != "slurm" {
            world.write(file, misspelt);
            assert!(!judge.output().unwrap().status.success(), "{engine}: a misspelt key is taken");
        }
    }
}

#[test]
fn a_plan_is_as_its_schema_says_and_so_is_a_matrix() {
    let world = locked();
    let Some(tools) = std::env::var_os("IMGFORGE_TEST_TOOLS") else {
        return eprintln!("skipped: IMGFORGE_TEST_TOOLS names no tools (tests/setup)");
    };
    world.write("plan.json", plan(&world, &["--locked", "--shards", "2"]).to_string());
    world.write("plan.schema.json", succeed(world.run(&["schema", "matrix-plan"])).stdout);
    world.write("matrix.schema.json", succeed(world.run(&["schema", "matrix"])).stdout);
    let validate = "import json, yaml, jsonschema\n\
                    judge = lambda schema: jsonschema.Draft202012Validator(json.load(open(schema)))\n\
                    judge('plan.schema.json').validate(json.load(open('plan.json')))\n\
                    matrix = yaml.safe_load(open('matrix.yaml'))\n\
                    judge('matrix.schema.json').validate(matrix)\n\
                    assert not judge('matrix.schema.json').is_valid(matrix | {'recipes': ['a.yaml']})\n\
                    assert not judge('matrix.schema.json').is_valid(matrix | {'axes': []})\n";
    let python = std::path::Path::new(&tools).join("python");
    let mut command = std::process::Command::new(python);
    let judged = run(command.args(["-c", validate]).current_dir(world.directory.path()));
    assert_eq!(judged.code, 0, "{judged}");
}

/// The requests that a registry got: reads of manifests, writes of them, and all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked([usize; 3]);

impl Asked {
    fn of(registry: &Registry) -> Self {
        let calls = registry.take_calls();
        let of = |methods: &[&str]| {
            let on_manifest = calls.iter().filter(|call| call.path.contains("/manifests/"));
            on_manifest.filter(|call| methods.contains(&&*call.method)).count()
        };
        let (reads, writes) = (of(&["GET", "HEAD"]), of(&["PUT"]));
        Self([reads, writes, calls.len() - reads - writes])
    }
}

/// The requests for an image: so many, and so many more for each of its layers.
#[derive(Debug, Clone, Copy)]
struct Cost {
    what: &'static str,
    fixed: [usize; 3],
    each: [usize; 3],
}

const FIRST: Cost = Cost { what: "an image, for the first time", fixed: [12, 4, 14], each: [2, 0, 6] };
const ELSEWHERE: Cost =
    Cost { what: "the same, again on an empty machine", fixed: [5, 0, 7], each: [0, 0, 1] };
const AGAIN: Cost = Cost { what: "the same, again on the same machine", fixed: [3, 0, 3], each: [0, 0, 1] };

impl Cost {
    fn of(self, layers: usize) -> Asked {
        Asked([0, 1, 2].map(|kind| self.fixed[kind] + self.each[kind] * layers))
    }

    /// The row of the guide.
    fn row(self) -> String {
        let term = |fixed: usize, each: usize| match (fixed, each) {
            (fixed, 0) => fixed.to_string(),
            (fixed, 1) => format!("{fixed} + *n*"),
            (fixed, each) => format!("{fixed} + {each} *n*"),
        };
        let cells = [0, 1, 2].map(|kind| term(self.fixed[kind], self.each[kind]));
        let all = term(self.fixed.iter().sum(), self.each.iter().sum());
        format!("| {} | {} | {} |", self.what, cells.join(" | "), all)
    }
}

#[test]
fn the_requests_for_images_are_those_that_the_guide_tells() {
    let mut world = World::new();
    let names: Vec<String> = (0..24).map(|number| format!("part{number}")).collect();
    for name in &names {
        world.publish(Wheel::new(name, "1.0").file(&format!("{name}.py"), name.clone()));
    }
    for count in [1, 2, 4, 24] {
        let recipe = world.recipe(&format!("packages: [{}]\n", names[..count].join(", ")));
        fs::rename(recipe, world.path(&format!("r{count}.yaml"))).unwrap();
    }
    let recipes = "recipes: [r1.yaml, r2.yaml, r4.yaml, r24.yaml]\nmatrix: {}\nname: \"{recipe}\"\n";
    world.write("matrix.yaml", recipes);
    succeed(world.run(&["matrix", "lock", "matrix.yaml"]));
    let registry = Registry::start();
    let pushed = registry.place("images/{name}:v1");
    let planned = plan(&world, &["--locked"]);
    let ahead = planned["layers"].as_array().unwrap().iter().filter(|layer| layer["ahead"] == true).count();
    let mut most = Vec::new();
    for machine in ["layers", "other"] {
        succeed(on(&world, machine, &registry, &["layers", "matrix.yaml"]));
        let Asked(asked) = Asked::of(&registry);
        most.push(asked.iter().sum::<usize>().div_ceil(ahead));
    }
    let mut seen = BTreeSet::new();
    for (index, image) in planned["images"].as_array().unwrap().iter().enumerate() {
        let layers = image["layers"].as_array().unwrap().len();
        let shard = format!("{}/4", index + 1);
        let images = ["images", "matrix.yaml", "-o", &pushed, "--shard", &shard];
        let asked = |machine: &str| {
            succeed(on(&world, &format!("{machine}{index}"), &registry, &images));
            Asked::of(&registry)
        };
        let first = asked("machine");
        // The very first image puts a record that all have in common.
        if index > 0 {
            assert_eq!(first, FIRST.of(layers), "{layers} layers, for the first time");
        }
        assert_eq!(asked("machine"), AGAIN.of(layers), "{layers} layers, again");
        assert_eq!(asked("empty"), ELSEWHERE.of(layers), "{layers} layers, on an empty machine");
        seen.insert(layers);
    }
    assert!(seen.len() >= 3, "a line is through three points: {seen:?}");
    let guide = include_str!("../../docs/guides/matrix.md");
    for cost in [FIRST, ELSEWHERE, AGAIN] {
        assert!(guide.contains(&cost.row()), "the guide lacks {}", cost.row());
    }
    for (what, most) in ["a layer, made", "a layer that the cache has"].into_iter().zip(most) {
        let row = format!("| {what} | | | | at most {most} |");
        assert!(guide.contains(&row), "the guide lacks {row}");
    }
}
