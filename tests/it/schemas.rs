//! The schemas of what the program prints. The outputs of all other tests are held to them as well: see
//! `support/schemas.rs`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::image_bases;
use crate::support::schemas::{Judge, PRINTED, text};
use crate::support::wheel::Wheel;
use crate::support::{World, run};

/// Hands on every schema within a schema, with the path to it.
fn each<'s>(schema: &'s Value, path: &str, visit: &mut impl FnMut(&str, &'s Value)) {
    visit(path, schema);
    match schema {
        Value::Object(members) => {
            members.iter().for_each(|(name, inner)| each(inner, &format!("{path}/{name}"), visit));
        }
        Value::Array(items) => items.iter().for_each(|inner| each(inner, path, visit)),
        _ => {}
    }
}

#[test]
fn every_printed_document_has_a_schema_that_takes_no_unknown_member() {
    let world = World::new();
    let mut definitions = BTreeMap::new();
    for name in PRINTED {
        let schema = text(name);
        Judge::of(name);
        let told: Value = serde_json::from_str(&world.run(&["schema", name]).stdout).unwrap();
        assert_eq!(told, schema, "{name}");
        each(&schema, name, &mut |path, inner| {
            let has_members =
                inner.get("properties").is_some_and(Value::is_object) && inner["type"] == "object";
            // OCI lets platforms have further members.
            if has_members && !path.ends_with("/platform") {
                assert_eq!(
                    inner["additionalProperties"], false,
                    "{path} takes members that nobody describes"
                );
            }
        });
        for (definition, inner) in schema["$defs"].as_object().into_iter().flatten() {
            let known = definitions.entry(definition.clone()).or_insert_with(|| (name, inner.clone()));
            assert_eq!(known.1, *inner, "`{definition}` is one thing in {} and another in {name}", known.0);
        }
    }
}

#[test]
fn a_member_that_a_schema_does_not_have_is_refused() {
    let usage = json!({"count": 1, "bytes": 2});
    let store = json!({"path": "/s", "blobs": usage, "blob_kinds": {}, "records": {}, "partial": usage});
    let judge = Judge::of("cache-info");
    assert_eq!(judge.objection(&store), None);
    let mut other = store.clone();
    other["trees"] = 1.into();
    assert!(judge.objection(&other).is_some());
    other = store;
    other["blobs"] = 1.into();
    assert!(judge.objection(&other).is_some());
}

/// Runs of every command with JSON, over images and recipes with all that they may have. Every run is held to its schema
/// by [`run`]; here the outputs are held to them once more by the validator that others use.
#[test]
fn the_commands_print_what_the_schemas_say() {
    let mut world = World::with_named_base();
    world.publish(Wheel::new("wholesome", "1.1").requires("other").file("wholesome.py", "X = 2\n"));
    world.publish(Wheel::new("other", "2.0").file("other.py", "Y = 1\n"));
    let lines = "packages: [wholesome]\n\
                 files: [{from: recipe.yaml, to: /srv/recipe.yaml, mode: '0644'}]\n\
                 layers: {compression: estargz, prefetch: [/usr/bin]}\nannotations: {a: b}\n\
                 config: {user: '1001', env: {A: b}, labels: {a: b}, cmd: [python3], ports: [80], volumes: [/v]}\n";
    world.recipe(&format!("{lines}users: [{{name: app, uid: 1001}}]\npython: {{bytecode: true}}\n"));
    let compiled = world.run(&["plan", "recipe.yaml", "--json"]);
    assert_eq!(compiled.code, 0, "{compiled}");
    world.recipe(lines);
    let mut outputs = Vec::new();
    let mut ran = |world: &World, schema: &'static str, words: &[&str]| {
        let outcome = world.run(words);
        assert!(outcome.code == 0 || words[0] == "check" || words[0] == "diff", "{words:?}\n{outcome}");
        outputs.push((schema, serde_json::from_str::<Value>(&outcome.stdout).expect(schema)));
    };
    ran(&world, "plan", &["plan", "recipe.yaml", "--json"]);
    let built =
        ["build", "recipe.yaml", "-o", "oci:image", "--metadata-file", "built.json", "--progress", "json"];
    let outcome = world.run(&built);
    outcome.check_success();
    world.run(&["lock", "recipe.yaml"]);
    for (schema, words) in [
        ("plan", &["plan", "recipe.yaml", "--locked", "--json"][..]),
        ("findings", &["check", "oci:image", "--json"]),
        ("diff", &["diff", "oci:image", "oci:image", "--json"]),
        ("diff", &["diff", "oci:image", "recipe.yaml", "--json"]),
        ("outdated", &["outdated", "recipe.yaml", "--json"]),
        ("cache-info", &["cache", "info", "--json"]),
    ] {
        ran(&world, schema, words);
    }
    let cuda = image_bases::world(&image_bases::base());
    for (schema, words) in [
        ("plan", &["plan", "recipe.yaml", "--json"][..]),
        ("inspect", &["inspect", "oci:base", "--json"]),
        ("findings", &["check", "oci:base", "--json"]),
        ("diff", &["diff", "oci:base", "recipe.yaml", "--json"]),
    ] {
        ran(&cuda, schema, words);
    }
    world.publish(Wheel::new("wholesome", "3.0").file("wholesome.py", "X = 3\n"));
    ran(&world, "outdated", &["outdated", "recipe.yaml", "--json"]);
    let matrix = "recipe: recipe.yaml\nmatrix:\n  config.workdir: [/a, /b]\n\
                  name: demo{config.workdir}\ndestination: 'oci:out{config.workdir}'\n";
    world.write("matrix.yaml", matrix);
    ran(&world, "matrix-plan", &["matrix", "plan", "matrix.yaml", "--json"]);
    let images = world.run(&["matrix", "images", "matrix.yaml", "--metadata-file", "images.json"]);
    assert_eq!(images.code, 0, "{images}");
    for line in outcome.stderr.lines() {
        outputs.push(("progress", serde_json::from_str(line).unwrap()));
    }
    for (schema, file) in [("metadata", "built.json"), ("matrix-metadata", "images.json")] {
        let metadata = std::fs::read(world.path(file)).unwrap();
        outputs.push((schema, serde_json::from_slice(&metadata).unwrap()));
    }
    judged_by_others(&world, &outputs);
}

/// Holds documents to their schemas by Python's jsonschema.
fn judged_by_others(world: &World, outputs: &[(&str, Value)]) {
    let Some(tools) = std::env::var_os("IMGFORGE_TEST_TOOLS") else {
        return eprintln!("skipped: IMGFORGE_TEST_TOOLS names no tools (tests/setup)");
    };
    let pairs: Vec<Value> = outputs.iter().map(|(name, document)| json!([text(name), document])).collect();
    world.write("pairs.json", json!(pairs).to_string());
    let code = "import json, jsonschema\n\
                for schema, document in json.load(open('pairs.json')):\n    \
                    jsonschema.Draft202012Validator.check_schema(schema)\n    \
                    jsonschema.Draft202012Validator(schema).validate(document)\n";
    let python = std::path::Path::new(&tools).join("python");
    let judged =
        run(std::process::Command::new(python).args(["-c", code]).current_dir(world.directory.path()));
    assert_eq!(judged.code, 0, "{judged}");
}
