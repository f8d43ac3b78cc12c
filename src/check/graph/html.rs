//! A graph as a page: the picture, and a table of its libraries that can be sorted and read aloud. It loads nothing.

use std::fmt::Write;

use super::{Graph, GraphLibrary, escape, size, svg};

const STYLE: &str = "body{margin:24px;background:#fff;color:#1c2128;font:14px/1.45 system-ui,sans-serif}\
    .picture{overflow-x:auto}table{border-collapse:collapse;margin-top:24px}caption{text-align:left;font-weight:bold}\
    th,td{border:1px solid #d5dae1;padding:4px 8px;text-align:left;vertical-align:top}\
    th button{all:unset;cursor:pointer;font-weight:bold}th button:focus-visible{outline:2px solid #0072b2}\
    th[aria-sort=ascending] button::after{content:' \\25B2'}th[aria-sort=descending] button::after{content:' \\25BC'}\
    td{font-family:ui-monospace,monospace;font-size:12px}td:nth-child(4){text-align:right;white-space:nowrap}\
    pre{margin:0 0 6px;font:inherit}";

/// Sorts the rows by the column whose heading is pressed; a second time the other way round.
const SCRIPT: &str = "document.querySelectorAll('th button').forEach((button)=>button.addEventListener('click',()=>{\
    const head=button.parentElement,body=head.closest('table').tBodies[0],at=head.cellIndex;\
    const up=head.getAttribute('aria-sort')!=='ascending';\
    const value=(row)=>row.cells[at].dataset.value??row.cells[at].textContent;\
    const rows=[...body.rows].sort((a,b)=>value(a).localeCompare(value(b),'en',{numeric:true})*(up?1:-1));\
    head.parentElement.querySelectorAll('th').forEach((other)=>other.removeAttribute('aria-sort'));\
    head.setAttribute('aria-sort',up?'ascending':'descending');body.append(...rows);}));";

/// The page; `title` says of what.
pub fn render(graph: &Graph, title: &str) -> String {
    let headings = ["Library", "Component", "Version", "Size", "Path", "State", "Reached by"];
    let headings: String = headings
        .iter()
        .map(|heading| format!("<th scope=\"col\"><button type=\"button\">{heading}</button></th>"))
        .collect();
    let rows: String = graph.libraries.iter().map(|library| row(graph, library)).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{}</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<div class=\"picture\">\n{}</div>\n\
         <table>\n<caption>{}</caption>\n<thead><tr>{headings}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n\
         <script>{SCRIPT}</script>\n</body>\n</html>\n",
        escape(title),
        svg::element(graph, title),
        escape(&graph.summary()),
    )
}

fn row(graph: &Graph, library: &GraphLibrary) -> String {
    let mut row = String::from("<tr>");
    let (_, colour, _) = svg::of_state(library.state);
    let reaches = library.reaches.iter().map(|reach| format!("<pre>{}</pre>", escape(&graph.told(reach))));
    let cells = [
        escape(&library.name),
        library.component.to_string(),
        escape(library.version.as_deref().unwrap_or_default()),
        size(library.bytes),
        escape(library.path.as_deref().unwrap_or_default()),
        library.state.word().to_owned(),
        reaches.collect(),
    ];
    for (index, cell) in cells.iter().enumerate() {
        let attributes = match index {
            3 => format!(" data-value=\"{}\"", library.bytes),
            5 => format!(" style=\"border-left:4px solid {colour}\""),
            _ => String::new(),
        };
        let _ = write!(row, "<td{attributes}>{cell}</td>");
    }
    row.push_str("</tr>\n");
    row
}
