//! The layer of the recipe's own files.

use std::collections::BTreeMap;

use super::{CopiedFile, FilesLayer, LayerCompression, PlanRequest};
use crate::cpython::bytecode;
use crate::oci::paths::whiteout;
use crate::oci::{Entry, EntryKind};
use crate::pypa::scheme::InstallScheme;

/// The layer of the files that the recipe names; `None` where it names none.
pub(super) fn layer(request: &PlanRequest<'_>) -> Option<FilesLayer> {
    if request.files.is_empty() {
        return None;
    }
    let mtime = request.created;
    let files = request.files.iter().map(|file| {
        let entry = Entry { mtime, ..file.entry.clone() };
        (entry.path.clone(), CopiedFile { entry, content: file.content })
    });
    let mut files: BTreeMap<String, CopiedFile> = files.collect();
    if request.inputs.recipe.python.bytecode {
        hide_bytecode(&mut files, &request.base.inventory.scheme, mtime);
    }
    let compression = LayerCompression::of(&request.inputs.recipe.layers);
    Some(FilesLayer { files: files.into_values().collect(), compression })
}

/// Hides the bytecode that lower layers may have of the modules among `files`: an interpreter would take it for theirs.
fn hide_bytecode(files: &mut BTreeMap<String, CopiedFile>, scheme: &InstallScheme, mtime: u64) {
    let modules = files.keys().filter(|path| scheme.has_module(path));
    let compiled: Vec<String> = modules.filter_map(|path| bytecode::cached(path, scheme.version)).collect();
    for path in compiled {
        if !files.contains_key(&path) {
            let path = whiteout(&path);
            let kind = EntryKind::Whiteout;
            let entry = Entry { path: path.clone(), mode: 0o644, uid: 0, gid: 0, mtime, kind };
            files.insert(path, CopiedFile { entry, content: None });
        }
    }
}
