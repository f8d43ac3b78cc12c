use serde_json::json;

use super::*;

fn package(kind: PackageKind, name: &str, purl: &str) -> BillPackage {
    BillPackage {
        kind,
        name: name.to_owned(),
        version: Some("1.0".to_owned()),
        purl: purl.to_owned(),
        licence: Licence::Unknown,
        supplier: None,
        home_page: None,
        sha256: None,
        location: None,
        origin: "somewhere".to_owned(),
        part_of: None,
    }
}

/// Two distributions of one name and version, of which the first brought a component.
fn bill() -> Bill {
    let wheel = BillPackage {
        supplier: Some("A B <a@b.test>".to_owned()),
        home_page: Some("not a page".to_owned()),
        sha256: Some(Digest::of("wheel")),
        ..package(PackageKind::Python, "x_y", "pkg:pypi/x-y@1.0")
    };
    let component = BillPackage {
        part_of: Some(wheel.purl.clone()),
        location: Some("usr/local/cuda".to_owned()),
        ..package(PackageKind::Cuda, "cublas", "pkg:generic/nvidia/cublas@1.0")
    };
    Bill {
        subject: BillSubject {
            name: "app".to_owned(),
            digest: Digest::of("image"),
            architecture: Architecture::Amd64,
            created: 86_400,
        },
        packages: vec![component, wheel.clone(), BillPackage { sha256: None, ..wheel }],
    }
}

#[test]
fn packages_of_one_name_have_identifiers_of_their_own() {
    assert_eq!(bill().identifiers(), ["generic-cublas-1.0", "pypi-x-y-1.0", "pypi-x-y-1.0-2"]);
}

#[test]
fn spdx_says_what_is_in_the_image_and_what_brought_it() {
    let document = bill().document(BillFormat::Spdx);
    assert_eq!(document["creationInfo"]["created"], "1970-01-02T00:00:00Z");
    let relations: Vec<String> = document["relationships"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| format!("{} {} {}", it["spdxElementId"], it["relationshipType"], it["relatedSpdxElement"]))
        .map(|text| text.replace("SPDXRef-", "").replace('"', ""))
        .collect();
    let expected = [
        "DOCUMENT DESCRIBES Image",
        "Image CONTAINS Package-generic-cublas-1.0",
        "Image CONTAINS Package-pypi-x-y-1.0",
        "Image CONTAINS Package-pypi-x-y-1.0-2",
        "Package-pypi-x-y-1.0 CONTAINS Package-generic-cublas-1.0",
    ];
    assert_eq!(relations, expected);
    let wheel = &document["packages"][2];
    assert_eq!(wheel["supplier"], "Person: A B (a@b.test)");
    assert_eq!(wheel["homepage"], json!(null), "it is no page");
    assert_eq!(document["packages"][1]["sourceInfo"], "somewhere, at /usr/local/cuda");
}

#[test]
fn every_document_has_an_identity_of_its_own_and_the_same_bill_the_same() {
    let identities = |bill: &Bill| {
        let (spdx, cyclonedx) = (bill.document(BillFormat::Spdx), bill.document(BillFormat::CycloneDx));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        [text(&spdx["documentNamespace"]), text(&cyclonedx["serialNumber"])]
    };
    let (first, mut other) = (bill(), bill());
    assert_eq!(identities(&first), identities(&other));
    other.packages.pop();
    assert!(identities(&first).iter().zip(identities(&other)).all(|(one, another)| *one != another));
    let [_, serial] = identities(&first);
    let groups: Vec<&str> = serial.strip_prefix("urn:uuid:").unwrap().split('-').collect();
    assert_eq!(groups.iter().map(|group| group.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    assert!(groups[2].starts_with('8') && groups[3].starts_with(['8', '9', 'a', 'b']), "{serial}");
}
