use super::*;

fn entries(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(", ").filter_map(|pair| pair.split_once(' '));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn summary(distributions: &str, size: u64) -> Summary {
    Summary {
        python: Some("3.11.2".into()),
        distributions: entries(distributions),
        bytes: BTreeMap::from([("unpacked layers".to_owned(), size)]),
        ..Summary::default()
    }
}

fn shown(changes: &[Change]) -> String {
    let version = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".into());
    let told =
        |change: &Change| format!("{} {} {}", change.name, version(&change.before), version(&change.after));
    changes.iter().map(told).collect::<Vec<_>>().join("; ")
}

#[test]
fn says_what_came_went_and_moved() {
    let difference = compare(&summary("a 1, b 1, c 1", 10), &summary("a 1, b 2, d 1", 30));
    assert_eq!(shown(&difference.distributions), "b 1 2; c 1 -; d - 1");
    assert_eq!((difference.bytes[0].before, difference.bytes[0].after), (10, 30));
    assert!(!difference.is_empty());
}

#[test]
fn the_same_is_no_difference() {
    assert!(compare(&summary("a 1", 10), &summary("a 1", 10)).is_empty());
}

#[test]
fn of_a_side_that_does_not_tell_all_only_what_it_tells_is_compared() {
    let side = |complete, text: &str| Summary {
        system_packages: Some(ToldEntries { complete, entries: entries(text) }),
        ..Summary::default()
    };
    let check = |before: Summary, after: Summary, expected: &str| {
        assert_eq!(shown(&compare(&before, &after).system_packages), expected);
    };
    check(side(true, "a 1, b 1, c 1"), side(true, "a 2"), "a 1 2; b 1 -; c 1 -");
    check(side(true, "a 1, b 1, c 1"), side(false, "a 2, d 1"), "a 1 2; d - 1");
    check(side(false, "a 1, d 1"), side(true, "a 1, b 1"), "d 1 -");
    check(side(false, "a 1"), side(false, "b 1"), "a 1 -; b - 1");
    check(side(true, "a 1"), Summary::default(), "");
}

#[test]
fn distributions_of_the_system_are_compared_where_both_sides_tell_them() {
    let side = |pip: &str, of_system: Option<&str>| Summary {
        system_distributions: of_system.map(entries),
        ..summary(pip, 1)
    };
    let check = |before: Summary, after: Summary, expected: &str| {
        assert_eq!(shown(&compare(&before, &after).distributions), expected);
    };
    check(side("a 1", Some("b 1, c 1")), side("a 1, b 2", Some("b 1")), "b 1 2; c 1 -");
    check(side("a 1", None), side("a 2", Some("b 1")), "a 1 2");
}

#[test]
fn layers_that_both_sides_have_are_not_pulled() {
    let side = |names: &str| Summary {
        layers: Some(
            names
                .chars()
                .map(|name| LayerSummary { digest: Digest::of(name.to_string()), size: 7 })
                .collect(),
        ),
        ..Summary::default()
    };
    let difference = compare(&side("abc"), &side("abxy"));
    let layers = difference.layers.unwrap();
    assert_eq!((layers.before, layers.after, layers.shared, layers.bytes_to_pull), (3, 4, 2, 14));
    assert!(!difference.is_empty() && compare(&side("ab"), &side("ab")).is_empty());
    assert!(!compare(&side("ab"), &side("a")).is_empty());
}

#[test]
fn settings_are_compared_one_by_one() {
    let config = |user: &str, env: &str, port: &str| RuntimeConfig {
        user: user.into(),
        env: vec![env.into()],
        cmd: vec!["python3".into()],
        exposed_ports: BTreeMap::from([(port.to_owned(), serde_json::Value::Null)]),
        ..RuntimeConfig::default()
    };
    let side = |config| Summary { config: Some(settings(&config)), ..Summary::default() };
    let difference = compare(&side(config("", "A=1", "80/tcp")), &side(config("app", "A=2", "81/tcp")));
    let expected = "env A 1 2; port 80/tcp exposed -; port 81/tcp - exposed; user - app";
    assert_eq!(shown(&difference.config), expected);
}

#[test]
fn files_are_compared_where_no_package_owns_them() {
    let file = |size, content: Option<&str>| FileState {
        mode: Some(0o644),
        size,
        content: content.map(Digest::of),
        target: None,
    };
    let side = |system: &str, files: &[(&str, FileState)]| Summary {
        system_packages: Some(ToldEntries { complete: true, entries: entries(system) }),
        files: Some(ToldEntries {
            complete: true,
            entries: files.iter().map(|(path, state)| ((*path).to_owned(), state.clone())).collect(),
        }),
        ..Summary::default()
    };
    let before = [("etc/a", file(1, None)), ("srv/b", file(2, Some("x"))), ("srv/c", file(3, Some("x")))];
    let after = [("etc/a", file(2, None)), ("srv/b", file(2, Some("y"))), ("srv/c", file(3, None))];
    let check = |system: &str, expected: &str| {
        let difference = compare(&side("a 1", &before), &side(system, &after));
        assert_eq!(shown(&difference.files), expected, "{system}");
    };
    let b = "srv/b 0644, 2 B 0644, 2 B, other content";
    check("a 1", &format!("etc/a 0644, 1 B 0644, 2 B; {b}"));
    check("a 2", b);
}

#[test]
fn a_plan_stands_for_the_image_it_would_make() {
    let lib = "usr/local/cuda-12.4/targets/x86_64-linux/lib";
    let base = crate::resolve::tests::base(&format!("cublas 12.4.5.8 cu12 {lib}"));
    let summary = Summary::of_plan(&base, &Resolution::default());
    let cublas = &summary.components["cublas 12 for CUDA 12"];
    assert_eq!((cublas.version.as_str(), cublas.from.clone()), ("12.4.5.8", format!("at /{lib}")));
}
