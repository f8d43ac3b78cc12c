//! The layers of an image as a treemap, and as a table.

use std::cmp::Reverse;
use std::fmt::Write;

use super::sizes::SizedLayer;
use super::treemap::{Area, squarified};
use super::{escape, size};

/// The grounds of layers, one after the other; black text is read on each.
const GROUNDS: [&str; 6] = ["#cfe3f3", "#f3d9c6", "#cdebdf", "#efd5e6", "#e9e2b8", "#dcdfe4"];
const WHOLE: Area = Area { x: 0.0, y: 0.0, width: 1200.0, height: 620.0 };
/// The room of a layer's heading, where there is any.
const HEADING: f64 = 17.0;
/// The width of a letter, nearly.
const LETTER: f64 = 6.9;

/// The section of a page; nothing for an image without files.
pub(super) fn section(layers: &[SizedLayer]) -> String {
    let mut order: Vec<usize> = (0..layers.len()).filter(|index| layers[*index].bytes > 0).collect();
    order.sort_by_key(|index| Reverse(layers[*index].bytes));
    if order.is_empty() {
        return String::new();
    }
    let (bytes, wasted) =
        layers.iter().fold((0, 0), |(bytes, wasted), layer| (bytes + layer.bytes, wasted + layer.wasted));
    let summary = format!(
        "{} layers with files of {}; {} of them replaced or hidden by layers above",
        layers.len(),
        size(bytes),
        size(wasted)
    );
    let sizes: Vec<u64> = order.iter().map(|index| layers[*index].bytes).collect();
    let mut map = String::new();
    for (index, area) in order.iter().zip(squarified(&sizes, WHOLE)) {
        layer(&mut map, *index, &layers[*index], area);
    }
    format!(
        "<details open id=\"layers\">\n<summary>Layers</summary>\n<p>{summary}</p>\n\
         <div class=\"scroll\" role=\"region\" aria-label=\"Map of the layers\" tabindex=\"0\">\n<svg class=\"map\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0} {:.0}\" role=\"img\" aria-label=\"Layers by size: {summary}\">\n\
         <defs><pattern id=\"wasted\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
         <rect width=\"6\" height=\"6\" fill=\"#fff\"/><rect width=\"2\" height=\"6\" fill=\"#8a3b12\"/></pattern></defs>\n{map}</svg>\n</div>\n\
         {}</details>\n",
        WHOLE.width,
        WHOLE.height,
        table(layers),
    )
}

/// A layer with its parts, and what of it is wasted.
fn layer(out: &mut String, index: usize, layer: &SizedLayer, area: Area) {
    let heading = format!("layer {}: {}", index + 1, size(layer.bytes));
    let ground = GROUNDS[index % GROUNDS.len()];
    rectangle(out, area, ground, &format!("{heading}\n{}", layer.digest));
    let has_heading = area.height > 2.0 * HEADING && fits(&heading, area.width);
    if has_heading {
        text(out, area, "h", &heading);
    }
    let inner = area.within(2.0, if has_heading { HEADING } else { 2.0 }, 2.0, 2.0);
    let wasted = (layer.wasted > 0).then_some(("wasted", layer.wasted));
    let parts = layer.parts.iter().map(|part| (part.name.as_str(), part.bytes));
    let mut parts: Vec<(&str, u64)> = parts.chain(wasted).collect();
    parts.sort_by_key(|(_, bytes)| Reverse(*bytes));
    let sizes: Vec<u64> = parts.iter().map(|(_, bytes)| *bytes).collect();
    for ((name, bytes), area) in parts.iter().zip(squarified(&sizes, inner)) {
        let is_wasted = wasted == Some((*name, *bytes));
        let told = format!("{name}, {}", size(*bytes));
        rectangle(out, area, if is_wasted { "url(#wasted)" } else { ground }, &told);
        let shown = if fits(&told, area.width) { &told } else { *name };
        if area.height > HEADING && fits(shown, area.width) && !is_wasted {
            text(out, area, "p", shown);
        }
    }
}

fn fits(text: &str, width: f64) -> bool {
    u32::try_from(text.chars().count()).is_ok_and(|letters| f64::from(letters) * LETTER + 6.0 < width)
}

fn rectangle(out: &mut String, area: Area, fill: &str, told: &str) {
    let Area { x, y, width, height } = area;
    let told = escape(told);
    let _ = writeln!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"><title>{told}</title></rect>"
    );
}

fn text(out: &mut String, area: Area, class: &str, text: &str) {
    let (x, y, text) = (area.x + 4.0, area.y + 13.0, escape(text));
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{text}</text>");
}

/// The same for those who do not see the map.
fn table(layers: &[SizedLayer]) -> String {
    let rows: String = layers.iter().enumerate().map(|(index, layer)| row(index, layer)).collect();
    format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"Layers\" tabindex=\"0\">\n<table class=\"layers\">\n\
         <caption>Layers, bottom first</caption>\n<thead><tr><th scope=\"col\">Layer</th><th scope=\"col\">Files</th>\
         <th scope=\"col\">Wasted</th><th scope=\"col\">Largest parts</th><th scope=\"col\">Digest</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table>\n</div>\n"
    )
}

fn row(index: usize, layer: &SizedLayer) -> String {
    let parts = layer.parts.iter().take(4).map(|part| format!("{} {}", escape(&part.name), size(part.bytes)));
    let parts: Vec<String> = parts.collect();
    let wasted = if layer.wasted > 0 { size(layer.wasted) } else { String::new() };
    format!(
        "<tr><th scope=\"row\">{}</th><td>{}</td><td>{wasted}</td><td>{}</td><td>{}</td></tr>\n",
        index + 1,
        size(layer.bytes),
        parts.join(", "),
        layer.digest,
    )
}
