//! The manual says what the program says: README.md and `docs/`.
//!
//! The parts between `<!-- imgforge writes … from here -->` and `<!-- to here -->` are made from the help and the schemas;
//! `IMGFORGE_WRITE_DOCS=1` writes them anew. Every command line of the manual is one that the program reads, every whole
//! recipe in it parses, and those over `debian-bookworm` plan.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use imgforge::oci::Digest;
use imgforge::recipe::{Color, Recipe};
use serde_json::Value;

use crate::support::debian::Package;
use crate::support::wheel::Wheel;
use crate::support::{World, run};

/// The variable by which the parts that are made are written.
const WRITE: &str = "IMGFORGE_WRITE_DOCS";

#[test]
fn the_commands_are_those_of_the_help() {
    let mut text = String::new();
    help_of(&World::new(), &[], &mut text);
    check_part("docs/commands.md", "the commands", &text);
}

#[test]
fn the_keys_are_those_of_the_schema() {
    let schema = include_str!("../../src/recipe/recipe.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let mut text = keys_of(&schema, "The recipe");
    for (name, heading) in [
        ("base", "`base`, as a description"),
        ("python", "`python`"),
        ("requirements", "An entry of `requirements`"),
        ("index", "An entry of `indexes`"),
        ("cuda", "`cuda`"),
        ("user", "An entry of `users`"),
        ("file", "An entry of `files`"),
        ("config", "`config`"),
        ("healthcheck", "`config.healthcheck`"),
        ("layers", "`layers`"),
        ("matrix", "`matrix`"),
        ("silence", "An entry of `ignore`"),
    ] {
        text += &keys_of(&schema["$defs"][name], heading);
    }
    check_part("docs/recipe.md", "the keys", &text);
}

#[test]
fn every_command_line_of_the_manual_is_one_that_the_program_reads() {
    let mut count = 0;
    for (place, line) in command_lines() {
        let words: Vec<String> = words(&line);
        count += 1;
        if let Err(refusal) = imgforge::cli::check_arguments(&words) {
            panic!("{place}: `{line}`\n{refusal}");
        }
    }
    assert!(count > 40, "only {count} command lines were found");
}

#[test]
fn every_recipe_of_the_manual_parses_and_those_over_debian_plan() {
    let world = world();
    let mut planned = 0;
    for (place, text) in recipes() {
        if let Err(problems) = Recipe::parse(&text, &place) {
            panic!("{}", problems.render(Color::Plain));
        }
        if text
            .lines()
            .any(|line| line.split('#').next().unwrap_or_default().trim() == "base: debian-bookworm")
        {
            world.write("recipe.yaml", &text);
            let outcome = world.run(&["plan", "recipe.yaml"]);
            assert_eq!(outcome.code, 0, "{place}\n{text}\n{outcome}");
            planned += 1;
        }
    }
    assert!(planned > 3, "only {planned} recipes were planned");
}

/// A world with the projects and files that recipes of the manual name.
fn world() -> World {
    let mut world = World::with_named_base();
    world.archive.packages.push(Package {
        name: "ffmpeg",
        version: "7:5.1.6",
        fields: "",
        files: Vec::new(),
    });
    world.serve_archive();
    for (name, version) in [
        ("torch", "2.6.0"),
        ("torchvision", "0.21.0"),
        ("jax", "0.5.3"),
        ("tensorflow", "2.18.0"),
        ("transformers", "4.50.0"),
        ("numpy", "2.2.0"),
        ("pandas", "2.2.3"),
        ("ipykernel", "6.29.5"),
        ("matplotlib", "3.10.0"),
        ("scikit-learn", "1.6.0"),
        ("fastapi", "0.115.0"),
        ("uvicorn", "0.34.0"),
        ("pip", "25.0"),
        ("uv", "0.6.0"),
    ] {
        world.publish(Wheel::new(name, version));
    }
    for directory in ["dist", "app", "wheels"] {
        fs::create_dir(world.path(directory)).unwrap();
    }
    let app = Wheel::new("app", "1.0").build();
    let (file, digest) = (&app.filename, Digest::of(&app.bytes));
    world.write(
        "uv.lock",
        format!(
            "version = 1\nrevision = 3\nrequires-python = \">=3.11\"\n\n[[package]]\nname = \"project\"\n\
             version = \"1.0\"\nsource = {{ virtual = \".\" }}\n\n[package.dev-dependencies]\n\
             serve = [{{ name = \"app\" }}]\n\n[[package]]\nname = \"app\"\nversion = \"1.0\"\n\
             source = {{ path = \"dist/{file}\" }}\nwheels = [{{ filename = \"{file}\", hash = \"{digest}\" }}]\n"
        ),
    );
    world.write(&format!("dist/{}", app.filename), app.bytes);
    world.write("app/main.py", "print('x')\n");
    world.write("requirements.txt", "numpy\n");
    world.write("start.sh", "#!/bin/sh\n");
    world
}

/// Holds a part of a file of the manual against what it should be, or writes it.
#[track_caller]
fn check_part(file: &str, what: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let (begin, end) = (format!("<!-- imgforge writes {what} from here -->\n"), "\n<!-- to here -->");
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{file} has no `{begin}`"));
    let (part, after) = rest.split_once(end).unwrap_or_else(|| panic!("{file} has no `{end}`"));
    let expected = format!("\n{}\n", expected.trim());
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, format!("{before}{begin}{expected}{end}{after}")).unwrap();
        return;
    }
    assert_eq!(part, expected, "{file}: write {what} anew with {WRITE}=1");
}

/// Writes the help of a command and of those below it.
fn help_of(world: &World, command: &[&str], text: &mut String) {
    let outcome = world.run(&[command, &["--help"]].concat());
    assert_eq!(outcome.code, 0, "{outcome}");
    let name = [&["imgforge"], command].concat().join(" ");
    let _ = write!(text, "\n## {name}\n\n```text\n{}\n```\n", outcome.stdout.trim_end());
    let lines = outcome.stdout.lines().skip_while(|line| *line != "Commands:").skip(1);
    let below = lines.take_while(|line| line.starts_with("  "));
    let names = below.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    for name in names.filter(|name| !name.is_empty() && *name != "help") {
        help_of(world, &[command, &[name]].concat(), text);
    }
}

/// The keys of a mapping as a table.
fn keys_of(mapping: &Value, heading: &str) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().replace('|', "\\|");
    let mut table = format!(
        "\n### {heading}\n\n{}\n\n| key | meaning | default |\n|---|---|---|\n",
        text(&mapping["description"])
    );
    let properties = mapping["properties"].as_object().unwrap();
    let required =
        |key: &str| mapping["required"].as_array().is_some_and(|keys| keys.iter().any(|it| it == key));
    for key in keys_in_order(mapping) {
        let value = &properties[&key];
        let default = match &value["default"] {
            Value::Null if required(&key) => "required".to_owned(),
            Value::Null => String::new(),
            Value::String(word) => format!("`{word}`"),
            other => format!("`{other}`"),
        };
        let described = text(&value["description"]);
        assert!(!described.is_empty(), "`{key}` of {heading} has no description");
        let _ = writeln!(table, "| `{key}` | {described} | {default} |");
    }
    table
}

/// The keys of a mapping in the order of the schema's text.
fn keys_in_order(mapping: &Value) -> Vec<String> {
    let text = include_str!("../../src/recipe/recipe.schema.json");
    let title = format!("\"title\": {},", mapping["title"]);
    let (_, after) = text.split_once(&title).unwrap();
    let keys = mapping["properties"].as_object().unwrap().keys().cloned();
    let mut keys: Vec<(usize, String)> =
        keys.map(|key| (after.find(&format!("\"{key}\": {{")).unwrap(), key)).collect();
    keys.sort();
    keys.into_iter().map(|(_, key)| key).collect()
}

/// README.md and the files of `docs/`.
fn manual() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = vec![root.join("README.md")];
    collect(&root.join("docs"), &mut paths);
    paths.sort();
    let name = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => collect(&path, paths),
            false if path.extension().is_some_and(|extension| extension == "md") => paths.push(path),
            false => {}
        }
    }
}

/// The fenced blocks of the manual in a language: where they begin, and their lines.
fn blocks(language: &str) -> Vec<(String, Vec<String>)> {
    let mut blocks = Vec::new();
    for (file, text) in manual() {
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let Some(found) = line.trim().strip_prefix("```").filter(|word| !word.is_empty()) else {
                continue;
            };
            let body = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
            let body: Vec<String> = body.map(str::to_owned).collect();
            if found == language {
                blocks.push((format!("{file}:{}", index + 1), body));
            }
        }
    }
    blocks
}

/// The command lines behind `$ imgforge`, in console blocks and in the examples of the help.
fn command_lines() -> Vec<(String, String)> {
    let console = blocks("console").into_iter().flat_map(|(place, lines)| {
        let lines =
            lines.into_iter().filter_map(|line| Some(line.trim_start().strip_prefix("$ ")?.to_owned()));
        lines.map(move |line| (place.clone(), line)).collect::<Vec<_>>()
    });
    let help = blocks("text").into_iter().flat_map(|(place, lines)| {
        let lines = lines.into_iter().skip_while(|line| line != "Examples:");
        let lines = lines.filter(|line| line.starts_with("  imgforge ")).map(|line| line.trim().to_owned());
        lines.map(move |line| (place.clone(), line)).collect::<Vec<_>>()
    });
    let lines = console.chain(help).flat_map(|(place, line)| {
        let line = line.split(" #").next().unwrap_or_default().to_owned();
        let parts: Vec<String> =
            line.split(['|', '>', '<']).flat_map(|part| part.split("&&")).map(str::to_owned).collect();
        parts.into_iter().map(move |part| (place.clone(), part.trim().to_owned())).collect::<Vec<_>>()
    });
    let lines = lines.map(|(place, line)| (place, without_variables(&line).to_owned()));
    lines.filter(|(_, line)| line.starts_with("imgforge ")).collect()
}

/// A command without the variables before it.
fn without_variables(line: &str) -> &str {
    match line.split_once(' ') {
        Some((first, rest)) if first.contains('=') => without_variables(rest),
        _ => line,
    }
}

/// The words of a command line, quotes removed.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote, mut is_word) = (String::new(), None, false);
    for c in line.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => (quote, is_word) = (Some(c), true),
            (c, None) if c.is_whitespace() => {
                if is_word {
                    words.push(std::mem::take(&mut word));
                }
                is_word = false;
            }
            (c, _) => {
                word.push(c);
                is_word = true;
            }
        }
    }
    if is_word {
        words.push(word);
    }
    words
}

/// The whole recipes of the manual: blocks of YAML with a base and something to install.
fn recipes() -> Vec<(String, String)> {
    let is_recipe = |lines: &[String]| {
        let has = |key: &str| lines.iter().any(|line| line.starts_with(key));
        has("base:")
            && ["frameworks:", "packages:", "requirements:", "system-packages:"].iter().any(|key| has(key))
    };
    let whole = blocks("yaml").into_iter().filter(|(_, lines)| is_recipe(lines));
    whole.map(|(place, lines)| (place, lines.join("\n") + "\n")).collect()
}

#[test]
fn every_command_has_a_manual_page() {
    let world = World::new();
    world.check_failure(&world.run(&["man", "gone"]), 1, &["`gone` is not a directory", "mkdir -p gone"]);
    fs::create_dir(world.path("man")).unwrap();
    let written = world.run(&["man", "man"]);
    assert_eq!(written.code, 0, "{written}");
    for (name, said) in [
        ("imgforge", "one system CUDA"),
        ("imgforge-build", "docker\\-daemon:app"),
        ("imgforge-cache-prune", "older"),
        ("imgforge-init", "force"),
    ] {
        let page = fs::read_to_string(world.path(&format!("man/{name}.1"))).unwrap();
        assert!(page.contains(&format!(".TH {name} 1")) && page.contains(said), "{name}: {page}");
    }
}

/// Every recipe of the manual and of `recipes/`, every draft, and every mistake of one kind, held against the schema by the
/// validator that editors' are like.
#[test]
fn the_schema_takes_every_recipe_and_refuses_unknown_keys() {
    let Some(tools) = std::env::var_os("IMGFORGE_TEST_TOOLS") else {
        return eprintln!("skipped: IMGFORGE_TEST_TOOLS names no tools (tests/setup)");
    };
    let python = Path::new(&tools).join("python");
    let has = |module: &str| {
        Command::new(&python).args(["-c", &format!("import {module}")]).status().unwrap().success()
    };
    if !(has("yaml") && has("jsonschema")) {
        return eprintln!("skipped: {} has not both yaml and jsonschema (tests/setup)", python.display());
    }
    let world = World::new();
    let schema = world.run(&["schema"]);
    world.write("schema.json", &schema.stdout);
    fs::create_dir(world.path("valid")).unwrap();
    for (index, (_, text)) in recipes().into_iter().enumerate() {
        world.write(&format!("valid/{index}.yaml"), text);
    }
    for name in ["colab-like", "colab-2025-03-12"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("recipes/{name}.yaml"));
        fs::copy(path, world.path(&format!("valid/{name}.yaml"))).unwrap();
    }
    world.write(
        "Dockerfile",
        "FROM python:3.12-slim\nENV A=1\nRUN apt-get install -y git && pip install torch==2.6.0\nEXPOSE 80\n",
    );
    world.write("valid/draft.yaml", world.run(&["init", "-"]).stdout);
    fs::create_dir(world.path("wrong")).unwrap();
    for (index, line) in
        ["framworks: {}", "cuda: 12.4", "files: [{src: a}]", "layers: {compression: xz}"].iter().enumerate()
    {
        world.write(&format!("wrong/{index}.yaml"), format!("base: a\npackages: [b]\n{line}\n"));
    }
    let validate = "import json, pathlib, sys, yaml, jsonschema\n\
                    class Loader(yaml.SafeLoader): pass\n\
                    Loader.yaml_implicit_resolvers = {first: [(tag, form) for tag, form in all if not tag.endswith('timestamp')] for first, all in yaml.SafeLoader.yaml_implicit_resolvers.items()}\n\
                    schema = json.load(open('schema.json'))\n\
                    jsonschema.Draft202012Validator.check_schema(schema)\n\
                    judge = jsonschema.Draft202012Validator(schema)\n\
                    for kind, wanted in (('valid', True), ('wrong', False)):\n\
                    \x20   for path in sorted(pathlib.Path(kind).iterdir()):\n\
                    \x20       faults = [fault.message for fault in judge.iter_errors(yaml.load(path.read_text(), Loader))]\n\
                    \x20       if bool(faults) == wanted: sys.exit(f'{path}: {faults}\\n{path.read_text()}')\n";
    let outcome = run(Command::new(&python).args(["-c", validate]).current_dir(world.directory.path()));
    assert_eq!(outcome.code, 0, "{outcome}");
}
