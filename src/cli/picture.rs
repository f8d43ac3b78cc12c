//! The file that `check --graph` draws into.

use std::path::PathBuf;

use crate::check::graph::{html, svg};
use crate::failure::Result;
use crate::pipeline;

/// A file for a picture, whose name says in which form.
#[derive(Debug, Clone)]
pub(super) struct PictureFile {
    path: PathBuf,
    form: Form,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Svg,
    Html,
}

impl PictureFile {
    /// The picture at a path, or why there can be none.
    pub(super) fn at(path: &str) -> Result<Self, String> {
        let path = PathBuf::from(path);
        let form = match path.extension().and_then(|extension| extension.to_str()) {
            Some("svg") => Form::Svg,
            Some("html") => Form::Html,
            _ => {
                return Err("its extension is neither .svg nor .html; write FILE.svg for a picture, or FILE.html for a page with \
                            tables"
                    .to_owned());
            }
        };
        Ok(Self { path, form })
    }

    /// Draws what `page` has of `image`.
    pub(super) fn draw(&self, page: &html::ImagePage, image: &str) -> Result<()> {
        let title = format!("Who reaches CUDA in {image}");
        let text = match self.form {
            Form::Svg => svg::render(&page.graph, &title),
            Form::Html => html::render(page, &title),
        };
        pipeline::write_picture(&self.path, &text)
    }
}
