//! A graph as a picture: SVG on a ground of its own, which needs nothing else.
//!
//! <https://www.w3.org/TR/SVG11/>

use std::fmt::Write;

use super::layout::{BAR, Card, LINE, Layout, MARGIN, PAD};
use super::{Graph, GraphLink, GraphNode, LibraryState, escape, size};

/// The colours of frameworks, which everyone tells apart: <https://jfly.uni-koeln.de/color/>, darkened for lines.
const COLOURS: [&str; 7] = ["#0072b2", "#b8570a", "#007a5a", "#a8508a", "#3d8fc4", "#8a7400", "#555555"];
/// The colour of links that are no framework's.
const GREY: &str = "#8a8f98";

const STYLE: &str = "text{font:12px 'DejaVu Sans Mono',Menlo,Consolas,'Liberation Mono',monospace;fill:#1c2128}\
    .h{font-size:17px;font-weight:bold}.s{fill:#59636e}.c{font-weight:bold}\
    .card{stroke-width:1}.group{fill:#f3f5f8;stroke:#d5dae1}\
    .link path{fill:none;stroke-width:1.3;stroke-opacity:.6}.link .hit{stroke-width:9;stroke-opacity:0}\
    .link polygon{stroke:none}.link:hover path:not(.hit){stroke-width:3;stroke-opacity:1}";

/// The picture; `title` says of what.
pub fn render(graph: &Graph, title: &str) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out.push_str(&element(graph, title));
    out
}

/// The picture as an element that a page may contain.
pub(super) fn element(graph: &Graph, title: &str) -> String {
    let picture = Picture { graph, layout: Layout::of(graph) };
    picture.svg(title)
}

struct Picture<'a> {
    graph: &'a Graph,
    layout: Layout,
}

impl Picture<'_> {
    fn svg(&self, title: &str) -> String {
        let Layout { width, height, .. } = self.layout;
        let (title, summary) = (escape(title), escape(&self.graph.summary()));
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" xml:space=\"preserve\" role=\"img\" aria-labelledby=\"graph-title graph-summary\">\n\
             <title id=\"graph-title\">{title}</title>\n<desc id=\"graph-summary\">{summary}</desc>\n\
             <style>{STYLE}</style>\n\
             <rect width=\"{width:.0}\" height=\"{height:.0}\" fill=\"#ffffff\"/>\n"
        );
        out.push_str(&text(MARGIN, 34.0, "h", &title));
        out.push_str(&text(MARGIN, 55.0, "s", &summary));
        for (heading, x) in self.layout.columns {
            out.push_str(&text(x, 80.0, "c", heading));
        }
        self.groups(&mut out);
        self.graph.links.iter().for_each(|link| self.link(&mut out, link));
        self.layout.cards.iter().for_each(|card| self.card(&mut out, card));
        self.legend(&mut out);
        out.push_str("</svg>\n");
        out
    }

    fn groups(&self, out: &mut String) {
        for group in &self.layout.groups {
            let _ = writeln!(
                out,
                "<rect class=\"group\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"5\"/>",
                group.x, group.y, group.width, group.height
            );
            out.push_str(&text(group.x + 2.0 * PAD, group.y + LINE, "c", &escape(&group.title)));
        }
    }

    fn card(&self, out: &mut String, card: &Card) {
        let (fill, stroke, bar) = self.colours(card.node);
        let _ = writeln!(
            out,
            "<g><title>{}</title>\n<rect class=\"card\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"3\" \
             fill=\"{fill}\" stroke=\"{stroke}\"/>\n\
             <rect x=\"{:.1}\" y=\"{:.2}\" width=\"{BAR}\" height=\"{:.2}\" fill=\"{bar}\"/>",
            escape(&self.hover(card.node)),
            card.x,
            card.y,
            card.width,
            card.height,
            card.right() - BAR - PAD,
            card.middle() - card.bar / 2.0,
            card.bar
        );
        let first = card.middle() - card.lines.len() as f64 * LINE / 2.0 + 12.5;
        for (index, line) in card.lines.iter().enumerate() {
            let class = if index == 0 { "" } else { "s" };
            out.push_str(&text(card.x + PAD, first + index as f64 * LINE, class, &escape(line)));
        }
        out.push_str("</g>\n");
    }

    /// The colours of a card: its ground, its edge, and its bar.
    fn colours(&self, node: GraphNode) -> (&'static str, &'static str, &'static str) {
        match node {
            GraphNode::Framework(index) => ("#ffffff", colour(Some(index)), colour(Some(index))),
            GraphNode::Carrier(index) => {
                let colour = colour(self.graph.carriers[index].framework);
                ("#ffffff", colour, colour)
            }
            GraphNode::Library(index) => of_state(self.graph.libraries[index].state),
        }
    }

    fn hover(&self, node: GraphNode) -> String {
        match node {
            GraphNode::Framework(index) => {
                let framework = &self.graph.frameworks[index];
                let companions = framework.companions.iter().map(|title| format!("\nwith {title}"));
                format!("{}, {}{}", framework.title, size(framework.bytes), companions.collect::<String>())
            }
            GraphNode::Carrier(index) => {
                let carrier = &self.graph.carriers[index];
                format!("{}\n{}", carrier.path, size(carrier.bytes))
            }
            GraphNode::Library(index) => {
                let library = &self.graph.libraries[index];
                let version =
                    library.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
                let mut lines = vec![
                    library.path.clone().unwrap_or_else(|| library.name.clone()),
                    format!(
                        "{}{version}, {}, {}",
                        library.component,
                        size(library.bytes),
                        library.state.word()
                    ),
                ];
                lines.extend(library.reaches.iter().map(|reach| format!("\n{}", self.graph.told(reach))));
                lines.join("\n")
            }
        }
    }

    fn link(&self, out: &mut String, link: &GraphLink) {
        let (Some(from), Some(to)) = (self.layout.card(link.from), self.layout.card(link.to)) else { return };
        let colour = match link.from {
            GraphNode::Framework(index) => colour(Some(index)),
            GraphNode::Carrier(index) => colour(self.graph.carriers[index].framework),
            GraphNode::Library(_) => GREY,
        };
        let (x, y) = (from.right(), from.middle());
        let (path, arrow) = match (link.from, link.to) {
            (GraphNode::Library(_), GraphNode::Library(_)) => {
                let (end, y_end) = (to.right(), to.middle());
                let bulge = x + 22.0 + ((y_end - y).abs() * 0.22).min(88.0);
                let path = format!(
                    "M{x:.1} {y:.1}C{bulge:.1} {y:.1} {bulge:.1} {y_end:.1} {:.1} {y_end:.1}",
                    end + 6.0
                );
                (
                    path,
                    format!(
                        "{end:.1},{y_end:.1} {0:.1},{1:.1} {0:.1},{2:.1}",
                        end + 7.0,
                        y_end - 3.0,
                        y_end + 3.0
                    ),
                )
            }
            _ => {
                let (end, y_end) = (to.x, to.middle());
                let half = (end - x) / 2.0;
                let path = format!(
                    "M{x:.1} {y:.1}C{:.1} {y:.1} {:.1} {y_end:.1} {:.1} {y_end:.1}",
                    x + half,
                    end - half,
                    end - 6.0
                );
                (
                    path,
                    format!(
                        "{end:.1},{y_end:.1} {0:.1},{1:.1} {0:.1},{2:.1}",
                        end - 7.0,
                        y_end - 3.0,
                        y_end + 3.0
                    ),
                )
            }
        };
        let dashes = if link.way.is_certain() { "" } else { " stroke-dasharray=\"5 4\"" };
        let _ = writeln!(
            out,
            "<g class=\"link\"><title>{}</title><path class=\"hit\" stroke=\"{colour}\" d=\"{path}\"/>\
             <path stroke=\"{colour}\"{dashes} d=\"{path}\"/><polygon fill=\"{colour}\" points=\"{arrow}\"/></g>",
            escape(&self.link_hover(link))
        );
    }

    fn link_hover(&self, link: &GraphLink) -> String {
        let mut lines = vec![self.named(link.from)];
        lines.extend(link.through.iter().map(|path| format!("> {path}")));
        lines.push(format!("> {} ({})", self.named(link.to), link.way.words()));
        lines.join("\n")
    }

    fn named(&self, node: GraphNode) -> String {
        match node {
            GraphNode::Framework(index) => self.graph.frameworks[index].title.clone(),
            GraphNode::Carrier(index) => self.graph.carriers[index].path.clone(),
            GraphNode::Library(index) => {
                let library = &self.graph.libraries[index];
                library.path.clone().unwrap_or_else(|| library.name.clone())
            }
        }
    }

    fn legend(&self, out: &mut String) {
        let top = self.layout.legend;
        let mut x = MARGIN;
        for state in LibraryState::ALL {
            let (fill, stroke, bar) = of_state(state);
            let _ = writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"26\" height=\"14\" rx=\"3\" fill=\"{fill}\" stroke=\"{stroke}\"/>\
                 <rect x=\"{:.1}\" y=\"{:.1}\" width=\"10\" height=\"8\" fill=\"{bar}\"/>",
                x + 13.0,
                top + 3.0
            );
            out.push_str(&text(x + 33.0, top + 11.5, "s", state.word()));
            x += 33.0 + state.word().len() as f64 * 7.3 + 22.0;
        }
        let second = top + LINE + 12.0;
        let dashed = MARGIN + 320.0;
        let _ = writeln!(
            out,
            "<path d=\"M{MARGIN} {second:.1}h36\" stroke=\"{GREY}\" stroke-width=\"1.5\"/>\
             <path d=\"M{dashed} {second:.1}h36\" stroke=\"{GREY}\" stroke-width=\"1.5\" stroke-dasharray=\"5 4\"/>"
        );
        let by_code = "code opens it (dlopen): a name among strings, or a requirement, tells";
        out.push_str(&text(MARGIN + 44.0, second + 4.0, "s", "the loader links it (DT_NEEDED)"));
        out.push_str(&text(dashed + 44.0, second + 4.0, "s", by_code));
        let scale = size(self.layout.bytes_for_pixel as u64);
        let areas = format!("The areas of bars are sizes: a pixel of height is {scale}.");
        out.push_str(&text(MARGIN, second + LINE + 8.0, "s", &areas));
    }
}

fn text(x: f64, y: f64, class: &str, escaped: &str) -> String {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\"{class}>{escaped}</text>\n")
}

/// The colour of a framework; grey for what is none's.
fn colour(framework: Option<usize>) -> &'static str {
    framework.map_or(GREY, |index| COLOURS[index % COLOURS.len()])
}

/// The colours of a library: its ground, its edge, and its bar.
pub(super) fn of_state(state: LibraryState) -> (&'static str, &'static str, &'static str) {
    match state {
        LibraryState::Served => ("#e6f4ea", "#2f855a", "#2f855a"),
        LibraryState::Duplicate => ("#fff0d9", "#d97706", "#d97706"),
        LibraryState::Shadowed => ("#fbe3f0", "#b83280", "#b83280"),
        LibraryState::Idle => ("#ffffff", "#b9c0ca", "#b9c0ca"),
        LibraryState::Missing => ("#fde2e1", "#c81e1e", "#c81e1e"),
    }
}
