//! Bills of materials say what is installed, with licences and origins, and nothing else.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::World;
use crate::support::layout::{Layout, Tar};
use crate::support::wheel::Wheel;

/// The distributions, Debian packages and components of a document of SPDX: version by name.
fn packages(spdx: &Value, kind: &str) -> BTreeMap<String, String> {
    let is_of =
        |package: &&Value| package["externalRefs"][0]["referenceLocator"].as_str().unwrap().starts_with(kind);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = spdx["packages"].as_array().unwrap().iter().filter(is_of);
    found.map(|package| (text(&package["name"]), text(&package["versionInfo"]))).collect()
}

fn bill(world: &World, arguments: &[&str]) -> Value {
    let outcome = world.run(&[&["sbom"], arguments].concat());
    assert_eq!(outcome.code, 0, "{outcome}");
    serde_json::from_str(&outcome.stdout).unwrap()
}

fn named<'a>(spdx: &'a Value, name: &str) -> &'a Value {
    spdx["packages"].as_array().unwrap().iter().find(|package| package["name"] == name).unwrap()
}

#[test]
fn a_bill_lists_what_is_installed_with_its_licence() {
    let mut world = World::new();
    world.publish(Wheel::new("licensed", "2.0").licence("License-Expression: MIT OR Apache-2.0"));
    world.publish(Wheel::new("odd", "1.0").licence("License: Ask Bob").requires("licensed"));
    world.recipe("packages: [wholesome, odd]\n");
    world.build().check_success();
    let spdx = bill(&world, &["oci:image"]);
    let expected = [("licensed", "2.0"), ("odd", "1.0"), ("wholesome", "1.0")];
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect();
    assert_eq!(packages(&spdx, "pkg:pypi/"), expected);
    assert!(packages(&spdx, "pkg:deb/").contains_key("python3"), "{spdx:#}");
    assert_eq!(named(&spdx, "licensed")["licenseDeclared"], "MIT OR Apache-2.0");
    assert_eq!(named(&spdx, "wholesome")["licenseDeclared"], "NOASSERTION");
    let reference = &named(&spdx, "odd")["licenseDeclared"];
    let extracted = &spdx["hasExtractedLicensingInfos"][0];
    assert_eq!((&extracted["licenseId"], &extracted["extractedText"]), (reference, &"Ask Bob".into()));
    assert!(spdx["packages"][0]["checksums"][0]["checksumValue"].is_string());

    let cyclonedx = bill(&world, &["oci:image", "--format", "cyclonedx-json"]);
    let count = |value: &Value| value.as_array().unwrap().len();
    assert_eq!(count(&cyclonedx["components"]) + 1, count(&spdx["packages"]));
    assert_eq!(cyclonedx["specVersion"], "1.6");
    assert_eq!(bill(&world, &["oci:image", "--format", "cyclonedx-json"]), cyclonedx);
    assert_eq!(bill(&world, &["oci:image"]), spdx);
}

#[test]
fn licences_of_debian_packages_are_those_of_their_copyright_files() {
    let packages_of = |names: &[&str]| {
        let package = |name: &&str| {
            format!("\nPackage: {name}\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n")
        };
        names.iter().map(package).collect::<String>()
    };
    let head = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n";
    let base = Tar::debian(&packages_of(&["clear", "linked", "odd", "prose", "silent"]))
        .file(
            "usr/share/doc/clear/copyright",
            format!("{head}\nFiles: *\nCopyright: A\nLicense: GPL-2+ or Artistic-2.0\n\nFiles: debian/*\nCopyright: B\nLicense: Expat\n The text.\n"),
        )
        .symlink("usr/share/doc/linked", "clear")
        .file(
            "usr/share/doc/odd/copyright",
            format!("{head}\nFiles: *\nCopyright: A\nLicense: public-domain\n Nobody owns it.\n"),
        )
        .file("usr/share/doc/prose/copyright", "It is under the GPL, see /usr/share/common-licenses.\n");
    let world = World::new();
    Layout::new().layer(base).write(&world.path("image"));
    let spdx = bill(&world, &["oci:image"]);
    let licence = |name: &str| named(&spdx, name)["licenseDeclared"].as_str().unwrap().to_owned();
    let both = "(GPL-2.0-or-later OR Artistic-2.0) AND MIT";
    assert_eq!((licence("clear"), licence("linked")), (both.to_owned(), both.to_owned()));
    let [extracted] = &spdx["hasExtractedLicensingInfos"].as_array().unwrap()[..] else { panic!("{spdx:#}") };
    assert_eq!(extracted["licenseId"], licence("odd"));
    assert_eq!(extracted["extractedText"], "`public-domain`, as /usr/share/doc/odd/copyright says");
    assert_eq!((licence("prose"), licence("silent")), ("NOASSERTION".into(), "NOASSERTION".into()));
    let cyclonedx = bill(&world, &["oci:image", "--format", "cyclonedx-json"]);
    let components = cyclonedx["components"].as_array().unwrap();
    let licences = |name: &str| &components.iter().find(|it| it["name"] == name).unwrap()["licenses"];
    assert_eq!(licences("clear")[0]["expression"], both);
    assert_eq!(licences("prose"), &Value::Null);
}

#[test]
fn what_an_image_hides_or_only_carries_is_not_listed() {
    let info = |name: &str| format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
    let packages_of = "usr/lib/python3/dist-packages";
    let base =
        Tar::debian("Package: gone\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: all\n\n")
            .file(&format!("{packages_of}/hidden-1.0.dist-info/METADATA"), info("hidden"))
            .file(&format!("{packages_of}/kept-1.0.dist-info/METADATA"), info("kept"))
            .file(&format!("{packages_of}/old.egg-info"), info("old"))
            .file(&format!("{packages_of}/kept/_vendor/carried-1.0.dist-info/METADATA"), info("carried"));
    let above = Tar::new().whiteout(&format!("{packages_of}/hidden-1.0.dist-info"));
    let world = World::new();
    Layout::new().layer(base).layer(above).write(&world.path("image"));
    let spdx = bill(&world, &["oci:image"]);
    let names: Vec<String> = packages(&spdx, "pkg:pypi/").into_keys().collect();
    assert_eq!(names, ["kept", "old"]);
    assert!(!packages(&spdx, "pkg:deb/").contains_key("gone"));
}

#[test]
fn an_image_of_nothing_that_is_known_has_a_bill_too() {
    let world = World::new();
    Layout::new().layer(Tar::new().file("app", "x")).write(&world.path("image"));
    let spdx = bill(&world, &["oci:image"]);
    assert_eq!(spdx["packages"].as_array().unwrap().len(), 1);
}
