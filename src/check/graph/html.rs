//! A graph as a page: a legend, a table of its libraries that can be filtered, sorted and read aloud, the picture, the GPUs that
//! the image runs on, and its layers by size. It loads nothing.

use std::fmt::Write;

use super::sizes::SizedLayer;
use super::{Graph, GraphLibrary, LibraryState, escape, gpu_table, layer_map, size, svg};
use crate::check::gpus::GpuSupport;

const STYLE: &str = ":root{color-scheme:light dark;--ground:#fff;--text:#1c2128;--soft:#59636e;--line:#d5dae1;--focus:#0072b2;\
    --yes:#bfe6cf;--yes-text:#12351f;--ptx:#f6e3b3;--ptx-text:#3d2f05;--no:#f3c9c2;--no-text:#4a120a}\
    @media(prefers-color-scheme:dark){:root{--ground:#14181e;--text:#e6edf3;--soft:#9aa4af;--line:#3a424d;--focus:#58a6ff;\
    --yes:#1d4a30;--yes-text:#d3f0de;--ptx:#57470f;--ptx-text:#fbeec6;--no:#5c231a;--no-text:#fbdcd6}\
    .picture svg,.map{filter:invert(.92) hue-rotate(180deg)}}\
    body{margin:0 auto;padding:16px;max-width:1900px;background:var(--ground);color:var(--text);\
    font:14px/1.45 system-ui,sans-serif}h1{font-size:20px;margin:0 0 4px;overflow-wrap:anywhere}p{margin:0 0 12px}\
    ul{display:flex;flex-wrap:wrap;gap:6px 20px;list-style:none;margin:0 0 12px;padding:0}\
    form{display:flex;flex-wrap:wrap;gap:8px 20px;align-items:center;margin:0 0 12px}\
    input,select,form button{font:inherit;padding:4px 6px;max-width:100%}output,.hint{color:var(--soft)}\
    .scroll{overflow:auto;max-width:100%}.picture svg{background:#fff;max-width:max(100%,1100px);height:auto}table{border-collapse:collapse;width:100%}\
    caption{position:absolute;width:1px;height:1px;overflow:hidden}\
    th,td{border:1px solid var(--line);padding:4px 8px;text-align:left;vertical-align:top}\
    th{position:sticky;top:0;background:var(--ground)}th button{all:unset;cursor:pointer;font-weight:bold}\
    [aria-pressed=true]{font-weight:bold}button:focus-visible,.scroll:focus-visible,summary:focus-visible{outline:2px solid var(--focus)}\
    th[aria-sort=ascending] button::after{content:' \\25B2'}th[aria-sort=descending] button::after{content:' \\25BC'}\
    td{font-family:ui-monospace,monospace;font-size:12px}\
    #libraries td:nth-child(n+2):nth-child(-n+4),#libraries td:nth-child(6),td summary{white-space:nowrap}\
    pre{margin:2px 0 6px;font:inherit;white-space:pre-wrap;min-width:30ch}td:last-child{overflow-wrap:anywhere}\
    #libraries td:nth-child(4),.layers td:nth-child(2),.layers td:nth-child(3){text-align:right;white-space:nowrap}\
    .gpus td{white-space:nowrap}.gpus .yes{background:var(--yes);color:var(--yes-text)}.gpus .ptx{background:var(--ptx);color:var(--ptx-text)}\
    .gpus .no{background:var(--no);color:var(--no-text)}tbody th{position:sticky;left:0;text-align:left;font-weight:normal}abbr{text-decoration-style:dotted}\
    .map{width:100%;min-width:900px;height:auto;background:#fff;margin:0 0 12px}.map rect{stroke:#fff;stroke-width:1}\
    .map rect:hover{stroke:#1c2128;stroke-width:2}.map text{font:11px ui-monospace,monospace;fill:#1c2128;pointer-events:none}\
    .map .h{font-weight:bold}.mark{border-left-width:6px;padding-left:6px}summary{cursor:pointer}main>details>summary{font-weight:bold;margin:16px 0 8px}\
    @media(max-width:900px){body{padding:8px}th,td{padding:4px}.mark{padding-left:4px}}\
    @media print{form{display:none}.scroll{overflow:visible}}";

/// Sorts the rows by the column whose heading is pressed, a second time the other way round; shows those that have the words
/// of the filter and are reached by the chosen framework; opens all paths for a press of their button and for paper. `/` leads
/// to the filter, Escape empties it.
const SCRIPT: &str = "document.querySelectorAll('#libraries th button').forEach((button)=>button.addEventListener('click',()=>{\
    const head=button.parentElement,body=head.closest('table').tBodies[0],at=head.cellIndex;\
    const up=head.getAttribute('aria-sort')!=='ascending';\
    const value=(row)=>row.cells[at].dataset.value??row.cells[at].textContent;\
    const rows=[...body.rows].sort((a,b)=>value(a).localeCompare(value(b),'en',{numeric:true})*(up?1:-1));\
    head.parentElement.querySelectorAll('th').forEach((other)=>other.removeAttribute('aria-sort'));\
    head.setAttribute('aria-sort',up?'ascending':'descending');body.append(...rows);}));\
    const filter=document.getElementById('filter'),framework=document.getElementById('framework');\
    const rows=[...document.querySelector('#libraries tbody').rows],count=document.getElementById('count');\
    const show=()=>{const words=filter.value.toLowerCase().split(' ').filter(Boolean);let shown=0;\
    rows.forEach((row)=>{const text=row.textContent.toLowerCase();\
    const fits=words.every((word)=>text.includes(word))&&(framework.value===''||\
    row.dataset.frameworks.split(' ').includes(framework.value));row.hidden=!fits;shown+=fits?1:0;});\
    count.textContent=shown+' of '+rows.length+' libraries';};\
    filter.addEventListener('input',show);framework.addEventListener('change',show);\
    document.querySelector('form').addEventListener('submit',(event)=>event.preventDefault());\
    document.addEventListener('keydown',(event)=>{const typing=event.target===filter;\
    if(event.key==='/'&&!typing){event.preventDefault();filter.focus();}\
    if(event.key==='Escape'&&typing){filter.value='';show();}});\
    const paths=document.getElementById('paths'),open=(all)=>{paths.setAttribute('aria-pressed',all);\
    document.querySelectorAll('#libraries details').forEach((path)=>path.open=all);};\
    paths.addEventListener('click',()=>open(paths.getAttribute('aria-pressed')!=='true'));\
    addEventListener('beforeprint',()=>open(true));show();";

/// The content of a page.
#[derive(Debug, Clone, Default)]
pub struct ImagePage {
    /// The frameworks and the libraries of CUDA.
    pub graph: Graph,
    /// The GPUs and drivers.
    pub gpus: GpuSupport,
    /// The layers, bottom first.
    pub layers: Vec<SizedLayer>,
}

/// The page; `title` says of what.
pub fn render(page: &ImagePage, title: &str) -> String {
    let graph = &page.graph;
    let headings = ["Library", "Component", "Version", "Size", "Path", "State", "Reached by"];
    let headings: String = headings
        .iter()
        .map(|heading| format!("<th scope=\"col\"><button type=\"button\">{heading}</button></th>"))
        .collect();
    let rows: String = graph.libraries.iter().map(|library| row(graph, library)).collect();
    let (heading, summary) = (escape(title), escape(&graph.summary()));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{heading}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{heading}</h1>\n<p>{summary}</p>\n\
         <ul aria-label=\"States\">\n{}</ul>\n{}\
         <div class=\"scroll\" role=\"region\" aria-label=\"Libraries\" tabindex=\"0\">\n\
         <table id=\"libraries\">\n<caption>{summary}</caption>\n<thead><tr>{headings}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n\
         <details open>\n<summary>Picture</summary>\n\
         <div class=\"scroll picture\" role=\"region\" aria-label=\"Picture\" tabindex=\"0\">\n{}</div>\n</details>\n{}{}\
         </main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        legend(graph),
        form(graph),
        svg::element(graph, title),
        gpu_table::section(&page.gpus),
        layer_map::section(&page.layers),
    )
}

/// Every state that occurs, with its libraries and their size.
fn legend(graph: &Graph) -> String {
    let entry = |state: LibraryState| {
        let libraries = || graph.libraries.iter().filter(|library| library.state == state);
        let (count, bytes) = (libraries().count(), libraries().map(|library| library.bytes).sum());
        let entry =
            || format!("<li><span {}>{}</span>: {count}, {}</li>\n", mark(state), state.word(), size(bytes));
        (count > 0).then(entry)
    };
    LibraryState::ALL.into_iter().filter_map(entry).collect()
}

/// The filter by words and the choice of a framework.
fn form(graph: &Graph) -> String {
    let options = graph.frameworks.iter().enumerate();
    let options: String = options
        .map(|(index, framework)| format!("<option value=\"{index}\">{}</option>", escape(&framework.title)))
        .collect();
    format!(
        "<form role=\"search\">\n<label>Filter <input id=\"filter\" type=\"search\" autocomplete=\"off\"></label>\n\
         <label>Reached by <select id=\"framework\"><option value=\"\">any or none</option>{options}</select></label>\n\
         <button type=\"button\" id=\"paths\" aria-pressed=\"false\">All paths</button>\n\
         <output id=\"count\" for=\"filter framework\"></output>\n<span class=\"hint\">/ leads to the filter</span>\n</form>\n"
    )
}

/// The attributes by which a state is seen: a pattern beside its colour.
fn mark(state: LibraryState) -> String {
    let (_, colour, _) = svg::of_state(state);
    let pattern = match state {
        LibraryState::Served => "solid",
        LibraryState::Duplicate => "double",
        LibraryState::Shadowed => "dashed",
        LibraryState::Idle => "dotted",
        LibraryState::Missing => "groove",
    };
    format!("class=\"mark\" style=\"border-left-style:{pattern};border-left-color:{colour}\"")
}

fn row(graph: &Graph, library: &GraphLibrary) -> String {
    let frameworks: Vec<String> = library.reaches.iter().map(|reach| reach.framework.to_string()).collect();
    let mut row = format!("<tr data-frameworks=\"{}\">", frameworks.join(" "));
    let reaches = library.reaches.iter().map(|reach| path(&graph.told(reach)));
    let cells = [
        breakable(&library.name),
        library.component.to_string(),
        escape(library.version.as_deref().unwrap_or_default()),
        size(library.bytes),
        breakable(library.path.as_deref().unwrap_or_default()),
        library.state.word().to_owned(),
        reaches.collect(),
    ];
    for (index, cell) in cells.iter().enumerate() {
        let attributes = match index {
            3 => format!(" data-value=\"{}\"", library.bytes),
            5 => format!(" {}", mark(library.state)),
            _ => String::new(),
        };
        let _ = write!(row, "<td{attributes}>{cell}</td>");
    }
    row.push_str("</tr>\n");
    row
}

/// The way from a framework to a library: the framework, which opens to the files between.
fn path(told: &str) -> String {
    let (framework, files) = told.split_once('\n').unwrap_or((told, ""));
    let (framework, files) = (escape(framework), breakable(files));
    format!("<details><summary>{framework}</summary><pre>{files}</pre></details>")
}

/// A text that may be broken within its paths and names, where a column is narrow.
fn breakable(text: &str) -> String {
    escape(text).replace('/', "/<wbr>").replace('_', "_<wbr>")
}
