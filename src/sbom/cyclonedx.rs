//! CycloneDX 1.6, as JSON.
//!
//! <https://cyclonedx.org/docs/1.6/json/>

use serde_json::{Value, json};

use super::licence::Licence;
use super::{Bill, BillPackage, PackageKind, TOOL};
use crate::oci::Digest;
use crate::oci::time::rfc3339;
use crate::purl::purl;

const ROOT: &str = "image";

/// The document of a bill.
pub(super) fn document(bill: &Bill) -> Value {
    let (tool, version) = TOOL;
    let identifiers = bill.identifiers();
    let components: Vec<Value> =
        bill.packages.iter().zip(&identifiers).map(|(package, id)| component(package, id)).collect();
    let mut document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": rfc3339(bill.subject.created),
            "tools": {"components": [{"type": "application", "name": tool, "version": version}]},
            "component": image(bill),
        },
        "components": components,
        "dependencies": dependencies(bill, &identifiers),
    });
    document["serialNumber"] = format!("urn:uuid:{}", uuid(&Digest::of(document.to_string()))).into();
    document
}

/// A UUID of version 8, whose bits are its maker's choice: those of a digest.
///
/// <https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-8>
fn uuid(digest: &Digest) -> String {
    let hex = digest.hex();
    let variant = match hex.as_bytes()[16] {
        b'0' | b'4' | b'8' | b'c' => '8',
        b'1' | b'5' | b'9' | b'd' => '9',
        b'2' | b'6' | b'a' | b'e' => 'a',
        _ => 'b',
    };
    format!("{}-{}-8{}-{variant}{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

fn image(bill: &Bill) -> Value {
    let subject = &bill.subject;
    let (digest, architecture) = (subject.digest.to_string(), subject.architecture.to_string());
    json!({
        "bom-ref": ROOT,
        "type": "container",
        "name": subject.name,
        "version": digest,
        "purl": purl(&["oci", &subject.name], Some(&digest), &[("arch", Some(&architecture))]),
        "hashes": [{"alg": "SHA-256", "content": subject.digest.hex()}],
    })
}

fn component(package: &BillPackage, id: &str) -> Value {
    let kind = if package.kind == PackageKind::Program { "application" } else { "library" };
    let mut value = json!({
        "bom-ref": id,
        "type": kind,
        "name": package.name,
        "purl": package.purl,
        "properties": [{"name": "imgforge:origin", "value": package.origin}],
    });
    if let Some(version) = &package.version {
        value["version"] = version.as_str().into();
    }
    if let Some(supplier) = &package.supplier {
        value["supplier"] = json!({"name": supplier});
    }
    if let Some(sha256) = &package.sha256 {
        value["hashes"] = json!([{"alg": "SHA-256", "content": sha256.hex()}]);
    }
    if let Some(location) = &package.location {
        value["evidence"] = json!({"occurrences": [{"location": format!("/{location}")}]});
    }
    if let Some(licences) = licences(&package.licence) {
        value["licenses"] = licences;
    }
    value
}

fn licences(licence: &Licence) -> Option<Value> {
    match licence {
        Licence::Expression(expression) | Licence::Composed { expression, .. } => {
            Some(json!([{"expression": expression}]))
        }
        Licence::Named(named) => {
            let mut value = json!({"name": named.name});
            if named.text != named.name {
                value["text"] = json!({"contentType": "text/plain", "content": named.text});
            }
            if let Some(url) = named.url {
                value["url"] = url.into();
            }
            Some(json!([{"license": value}]))
        }
        Licence::Unknown => None,
    }
}

/// The image has everything; what a wheel brought is the wheel's too.
fn dependencies(bill: &Bill, identifiers: &[String]) -> Vec<Value> {
    let bringers: Vec<Option<usize>> = bill.packages.iter().map(|it| bill.bringer(it)).collect();
    let brought_by = |at: usize| -> Vec<&String> {
        let brought = identifiers.iter().zip(&bringers).filter(|(_, bringer)| **bringer == Some(at));
        brought.map(|(id, _)| id).collect()
    };
    let of_packages = identifiers.iter().enumerate().map(|(at, id)| {
        let brought = brought_by(at);
        match brought.is_empty() {
            true => json!({"ref": id}),
            false => json!({"ref": id, "dependsOn": brought}),
        }
    });
    std::iter::once(json!({"ref": ROOT, "dependsOn": identifiers})).chain(of_packages).collect()
}
