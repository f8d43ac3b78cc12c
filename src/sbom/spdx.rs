//! SPDX 2.3, as JSON.
//!
//! <https://spdx.github.io/spdx-spec/v2.3/>

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::licence::{Licence, NamedLicence};
use super::{Bill, BillPackage, TOOL};
use crate::oci::Digest;
use crate::oci::time::rfc3339;
use crate::purl::purl;

/// The word of the specification for what nobody says anything about.
const NO_ASSERTION: &str = "NOASSERTION";

/// The namespace of the documents; each has its own below it.
const NAMESPACE: &str = "https://spdx.org/spdxdocs/imgforge";

const ROOT: &str = "SPDXRef-Image";

/// The document of a bill.
pub(super) fn document(bill: &Bill) -> Value {
    let (tool, version) = TOOL;
    let subject = &bill.subject;
    let licences = named_licences(bill);
    let identifiers: Vec<String> =
        bill.identifiers().into_iter().map(|identifier| format!("SPDXRef-Package-{identifier}")).collect();
    let packages = bill.packages.iter().zip(&identifiers);
    let packages = packages.map(|(package, identifier)| described(package, identifier, &licences));
    let mut document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": subject.name,
        "documentNamespace": namespace(bill),
        "creationInfo": {
            "created": rfc3339(subject.created),
            "creators": [format!("Tool: {tool}-{version}")],
        },
        "packages": std::iter::once(image(bill)).chain(packages).collect::<Vec<_>>(),
        "relationships": relationships(bill, &identifiers),
    });
    if !licences.is_empty() {
        let extracted = licences.iter().map(|(licence, reference)| extracted(licence, reference));
        document["hasExtractedLicensingInfos"] = extracted.collect();
    }
    document
}

/// A namespace of the document's own: of the image, of what is said about it, and of who says it.
fn namespace(bill: &Bill) -> String {
    let purls = bill.packages.iter().map(|it| format!("{} {:?} {:?}\n", it.purl, it.licence, it.sha256));
    let told = format!("{TOOL:?} {}\n{}", bill.subject.digest, purls.collect::<String>());
    let usual = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = bill.subject.name.chars().map(usual).collect();
    format!("{NAMESPACE}/{name}-{}", Digest::of(told).hex())
}

fn image(bill: &Bill) -> Value {
    let subject = &bill.subject;
    let (digest, architecture) = (subject.digest.to_string(), subject.architecture.to_string());
    let purl = purl(&["oci", &subject.name], Some(&digest), &[("arch", Some(&architecture))]);
    json!({
        "SPDXID": ROOT,
        "name": subject.name,
        "versionInfo": digest,
        "primaryPackagePurpose": "CONTAINER",
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": false,
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": NO_ASSERTION,
        "copyrightText": NO_ASSERTION,
        "supplier": NO_ASSERTION,
        "checksums": [{"algorithm": "SHA256", "checksumValue": subject.digest.hex()}],
        "externalRefs": [external(&purl)],
    })
}

fn described(package: &BillPackage, identifier: &str, licences: &BTreeMap<&NamedLicence, String>) -> Value {
    let mut value = json!({
        "SPDXID": identifier,
        "name": package.name,
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": false,
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": match &package.licence {
            Licence::Expression(expression) | Licence::Composed { expression, .. } => expression,
            Licence::Named(named) => licences.get(named).map_or(NO_ASSERTION, String::as_str),
            Licence::Unknown => NO_ASSERTION,
        },
        "copyrightText": NO_ASSERTION,
        "supplier": package.supplier.as_deref().map_or(NO_ASSERTION.to_owned(), supplier),
        "sourceInfo": match &package.location {
            Some(location) => format!("{}, at /{location}", package.origin),
            None => package.origin.clone(),
        },
        "externalRefs": [external(&package.purl)],
    });
    if let Some(version) = &package.version {
        value["versionInfo"] = version.as_str().into();
    }
    if let Some(sha256) = &package.sha256 {
        value["checksums"] = json!([{"algorithm": "SHA256", "checksumValue": sha256.hex()}]);
    }
    if let Some(page) = package.home_page.as_ref().filter(|page| is_page(page)) {
        value["homepage"] = page.as_str().into();
    }
    value
}

/// Returns whether a text is the address of a page: the specification wants nothing else as one.
fn is_page(text: &str) -> bool {
    let is_web = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    is_web && text.parse::<url::Url>().is_ok() && !text.contains(char::is_whitespace)
}

/// `Person: A (a@b.test)` of a person with an address, `Organization: A` of all others.
fn supplier(text: &str) -> String {
    let address = text.split_once('<').and_then(|(name, rest)| Some((name.trim(), rest.split_once('>')?.0)));
    match address {
        Some((name, address)) if !name.is_empty() && address.contains('@') => {
            format!("Person: {name} ({address})")
        }
        _ => format!("Organization: {text}"),
    }
}

fn external(purl: &str) -> Value {
    json!({"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl})
}

fn relationships(bill: &Bill, identifiers: &[String]) -> Vec<Value> {
    let relation = |element: &str, kind: &str, related: &str| json!({"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": related});
    let describes = relation("SPDXRef-DOCUMENT", "DESCRIBES", ROOT);
    let contains = identifiers.iter().map(|identifier| relation(ROOT, "CONTAINS", identifier));
    let brought = bill.packages.iter().zip(identifiers).filter_map(|(package, identifier)| {
        Some(relation(&identifiers[bill.bringer(package)?], "CONTAINS", identifier))
    });
    std::iter::once(describes).chain(contains).chain(brought).collect()
}

/// The licences that no list has, each with the reference that the document gives it.
fn named_licences(bill: &Bill) -> BTreeMap<&NamedLicence, String> {
    let named = bill.packages.iter().flat_map(|package| match &package.licence {
        Licence::Named(named) => vec![named],
        Licence::Composed { named, .. } => named.iter().collect(),
        Licence::Expression(_) | Licence::Unknown => Vec::new(),
    });
    named.map(|licence| (licence, licence.reference())).collect()
}

fn extracted(licence: &NamedLicence, reference: &str) -> Value {
    let mut value = json!({"licenseId": reference, "name": licence.name, "extractedText": licence.text});
    if let Some(url) = licence.url {
        value["seeAlsos"] = json!([url]);
    }
    value
}
