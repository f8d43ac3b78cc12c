//! The certificates for a registry: directories by its host, as docker and podman have them.
//!
//! <https://github.com/containers/image/blob/main/docs/containers-certs.d.5.md>

use std::fs;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder};

use super::error::RegistryError;
use crate::plain_file;

/// The bytes of a certificate or a key: a bundle of all public authorities has 250 kB.
const LONGEST_FILE: u64 = 1 << 20;
/// The files of one registry: there are rarely more than three.
const MOST_FILES: usize = 64;

/// The directories that may have one for each registry, the first that has one holds.
pub(super) fn directories(variable: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let home = variable("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let of_user = |below: &str| home.as_ref().map(|home| home.join(below));
    let places = [
        of_user(".config/containers/certs.d"),
        Some("/etc/containers/certs.d".into()),
        of_user(".config/docker/certs.d"),
        Some("/etc/docker/certs.d".into()),
    ];
    places.into_iter().flatten().collect()
}

/// A client that trusts the authorities for `host` besides those of the machine, and shows the certificate for it.
pub(super) fn with_certificates(
    mut builder: ClientBuilder,
    host: &str,
    directories: &[PathBuf],
) -> Result<ClientBuilder, RegistryError> {
    let Some(directory) = directories.iter().map(|directory| directory.join(host)).find(|path| path.is_dir())
    else {
        return Ok(builder);
    };
    let unusable = |path: &Path, reason: String| RegistryError::Certificate {
        registry: host.to_owned(),
        path: path.to_owned(),
        reason,
    };
    let read =
        |path: &Path| plain_file::read(path, LONGEST_FILE).map_err(|error| unusable(path, error.to_string()));
    for path in files(&directory).map_err(|error| unusable(&directory, error.to_string()))? {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => {
                let authorities = Certificate::from_pem_bundle(&read(&path)?);
                let authorities = authorities.map_err(|error| unusable(&path, error.to_string()))?;
                builder = builder.tls_certs_merge(authorities);
            }
            Some("cert") => {
                let both = [read(&path)?, read(&path.with_extension("key"))?].join(&b'\n');
                let identity =
                    reqwest::Identity::from_pem(&both).map_err(|error| unusable(&path, error.to_string()))?;
                builder = builder.identity(identity);
            }
            _ => {}
        }
    }
    Ok(builder)
}

/// The files of a directory, in the order of their names.
fn files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.take(MOST_FILES);
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}
