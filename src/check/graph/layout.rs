//! The layout of a graph's picture: three columns of cards, whose bars are as large as files.

use super::{Graph, GraphLibrary, GraphNode, name, size};

/// The width of a character of the picture's font, in pixels at its size.
const CHARACTER: f64 = 7.3;
/// The width of a bar, in pixels: areas are as heights, all bars being as wide.
pub(super) const BAR: f64 = 56.0;
/// The height of the largest bar.
const HIGHEST_BAR: f64 = 150.0;
/// The least height of a bar that anybody sees.
const LOWEST_BAR: f64 = 1.5;
/// The height of a line of text.
pub(super) const LINE: f64 = 17.0;
/// The padding in a card around its text and bar.
pub(super) const PAD: f64 = 6.0;
/// The margin around the picture.
pub(super) const MARGIN: f64 = 24.0;
/// The space above the cards, for the title.
const TOP: f64 = 92.0;
/// Between columns, for links.
const GUTTER: f64 = 170.0;
/// Between cards, and between groups of them.
const GAP: f64 = 5.0;
const GROUP_GAP: f64 = 14.0;
/// Right of the libraries, for the links among them.
const ARCS: f64 = 130.0;
/// Below the cards, for the legend.
const LEGEND: f64 = 92.0;
/// The longest text that a card shows, in characters.
const LONGEST: usize = 52;

/// A picture's geometry, in pixels.
#[derive(Debug)]
pub(super) struct Layout {
    pub width: f64,
    pub height: f64,
    pub cards: Vec<Card>,
    pub groups: Vec<Group>,
    /// The bar of so many bytes is one pixel high.
    pub bytes_for_pixel: f64,
    /// The headings of the columns, and where they begin.
    pub columns: [(&'static str, f64); 3],
    /// The top of the legend.
    pub legend: f64,
}

/// The place of a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Card {
    pub node: GraphNode,
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
    /// The height of its bar, at its right end.
    pub bar: f64,
    pub lines: Vec<String>,
}

/// The place of a component.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
    pub title: String,
}

impl Card {
    /// The vertical middle of the card.
    pub(super) fn middle(&self) -> f64 {
        self.y + self.height / 2.0
    }

    /// The right edge of the card.
    pub(super) fn right(&self) -> f64 {
        self.x + self.width
    }
}

impl Layout {
    /// The layout of `graph`.
    pub(super) fn of(graph: &Graph) -> Self {
        let largest = sizes(graph).max().unwrap_or_default().max(1);
        let scale = HIGHEST_BAR / largest as f64;
        let mut frameworks = Column::new(MARGIN, frameworks(graph), scale);
        let mut carriers = Column::new(frameworks.right() + GUTTER, carriers(graph), scale);
        let mut libraries = Column::new(carriers.right() + GUTTER, libraries(graph), scale);
        frameworks.stack(|_| GROUP_GAP);
        carriers.stack(|card| if starts_framework(graph, card) { GROUP_GAP } else { GAP });
        let groups = libraries.stack_groups(graph);
        let bottom = [&frameworks, &carriers, &libraries].map(|column| column.bottom);
        let bottom = bottom.into_iter().fold(TOP, f64::max);
        frameworks.centre(bottom);
        carriers.centre(bottom);
        Self {
            width: libraries.right() + ARCS + MARGIN,
            height: bottom + LEGEND,
            bytes_for_pixel: 1.0 / scale,
            columns: [
                ("Frameworks", frameworks.x),
                ("Their objects that lead to CUDA", carriers.x),
                ("Libraries of CUDA", libraries.x),
            ],
            legend: bottom + 30.0,
            groups,
            cards: [frameworks.cards, carriers.cards, libraries.cards].concat(),
        }
    }

    /// The card of `node`.
    pub(super) fn card(&self, node: GraphNode) -> Option<&Card> {
        self.cards.iter().find(|card| card.node == node)
    }
}

/// The content of a card: its node, its size in bytes, and its text.
type CardContent = (GraphNode, u64, Vec<String>);

fn sizes(graph: &Graph) -> impl Iterator<Item = u64> {
    let frameworks = graph.frameworks.iter().map(|it| it.bytes);
    frameworks
        .chain(graph.carriers.iter().map(|it| it.bytes))
        .chain(graph.libraries.iter().map(|it| it.bytes))
}

fn frameworks(graph: &Graph) -> Vec<CardContent> {
    let content = |(index, framework): (usize, &super::GraphFramework)| {
        let lines = vec![shown(&framework.title), size(framework.bytes)];
        (GraphNode::Framework(index), framework.bytes, lines)
    };
    graph.frameworks.iter().enumerate().map(content).collect()
}

fn carriers(graph: &Graph) -> Vec<CardContent> {
    let content = |(index, carrier): (usize, &super::Carrier)| {
        let text = format!("{}  {}", shown(name(&carrier.path)), size(carrier.bytes));
        (GraphNode::Carrier(index), carrier.bytes, vec![text])
    };
    graph.carriers.iter().enumerate().map(content).collect()
}

fn libraries(graph: &Graph) -> Vec<CardContent> {
    let content = |(index, library): (usize, &GraphLibrary)| {
        let size = if library.path.is_some() { size(library.bytes) } else { "not found".to_owned() };
        let mut lines = vec![format!("{}  {size}", shown(&library.name))];
        // Only its path tells one copy from another.
        if let Some(path) = library.path.as_deref().filter(|_| has_namesake(graph, library)) {
            lines.push(shown_end(path));
        }
        (GraphNode::Library(index), library.bytes, lines)
    };
    graph.libraries.iter().enumerate().map(content).collect()
}

fn has_namesake(graph: &Graph, library: &GraphLibrary) -> bool {
    graph.libraries.iter().filter(|other| other.name == library.name).count() > 1
}

fn starts_framework(graph: &Graph, card: &Card) -> bool {
    match card.node {
        GraphNode::Carrier(index) if index > 0 => {
            graph.carriers[index].framework != graph.carriers[index - 1].framework
        }
        _ => false,
    }
}

/// The text, or as much of its beginning as a card has room for.
fn shown(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some(_) => text.chars().take(LONGEST - 1).chain(['…']).collect(),
    }
}

/// The text, or as much of its end as a card has room for.
fn shown_end(text: &str) -> String {
    match text.chars().count() {
        count if count <= LONGEST => text.to_owned(),
        count => std::iter::once('…').chain(text.chars().skip(count - LONGEST + 1)).collect(),
    }
}

/// Cards one above the other, all as wide.
struct Column {
    x: f64,
    width: f64,
    bottom: f64,
    cards: Vec<Card>,
}

impl Column {
    fn new(x: f64, contents: Vec<CardContent>, scale: f64) -> Self {
        let longest = contents.iter().flat_map(|(.., lines)| lines).map(|line| line.chars().count()).max();
        let text = longest.unwrap_or(24) as f64 * CHARACTER;
        let width = (text + BAR + 3.0 * PAD).ceil();
        let card = |(node, bytes, lines): CardContent| {
            let bar = if bytes == 0 { 0.0 } else { (bytes as f64 * scale).max(LOWEST_BAR) };
            let height = (lines.len() as f64 * LINE).max(bar) + PAD;
            Card { node, x, y: TOP, width, height, bar, lines }
        };
        Self { x, width, bottom: TOP, cards: contents.into_iter().map(card).collect() }
    }

    fn right(&self) -> f64 {
        self.x + self.width
    }

    /// Puts the cards one below the other, with this much between each and the one above it.
    fn stack(&mut self, gap: impl Fn(&Card) -> f64) {
        let mut y = TOP;
        for (index, card) in self.cards.iter_mut().enumerate() {
            card.y = if index == 0 { y } else { y + gap(card) };
            y = card.y + card.height;
        }
        self.bottom = y;
    }

    /// Puts the cards of each component into a group of their own.
    fn stack_groups(&mut self, graph: &Graph) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut component = None;
        let mut y = TOP - GROUP_GAP;
        for (card, library) in self.cards.iter_mut().zip(&graph.libraries) {
            if component != Some(library.component) {
                component = Some(library.component);
                y += GROUP_GAP;
                groups.push(Group {
                    x: self.x - PAD,
                    y,
                    width: self.width + 2.0 * PAD,
                    height: 0.0,
                    title: group_title(graph, library),
                });
                y += LINE + PAD;
            }
            card.y = y;
            y += card.height + GAP;
            if let Some(group) = groups.last_mut() {
                group.height = y - group.y;
            }
        }
        self.bottom = y;
        groups
    }

    /// Moves the cards down, so that they stand in the middle of what ends at `bottom`.
    fn centre(&mut self, bottom: f64) {
        let free = (bottom - self.bottom) / 2.0;
        self.cards.iter_mut().for_each(|card| card.y += free);
    }
}

/// `cudnn 9.3.0.75, 1.01 GiB`
fn group_title(graph: &Graph, first: &GraphLibrary) -> String {
    let all = graph.libraries.iter().filter(|library| library.component == first.component);
    let bytes = all.clone().map(|library| library.bytes).sum();
    let mut versions: Vec<&str> = all.filter_map(|library| library.version.as_deref()).collect();
    versions.sort_unstable();
    versions.dedup();
    shown(&format!("{} {}, {}", first.component, versions.join(" and "), size(bytes)))
}
