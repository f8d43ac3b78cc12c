use super::layout::{Card, Layout};
use super::sizes::{LayerPart, SizedLayer};
use super::*;
use crate::check::GpuSupport;
use crate::oci::Digest;

fn library(component: &str, name: &str, path: Option<&str>, bytes: u64, state: LibraryState) -> GraphLibrary {
    GraphLibrary {
        component: Component::named(component).unwrap(),
        name: name.to_owned(),
        version: Some("9.1".to_owned()),
        path: path.map(str::to_owned),
        bytes,
        state,
        reaches: Vec::new(),
    }
}

/// Two frameworks, one of them with a hostile name, and a library in every state.
fn graph() -> Graph {
    let link = |from, to, way| GraphLink { from, to, way, through: vec!["/opt/a&b.so".to_owned()] };
    let step = |path: &str, way| Step { path: path.to_owned(), way };
    let mut libraries = vec![
        library(
            "cublas",
            "libcublas.so.12",
            Some("/usr/lib/libcublas.so.12"),
            100 << 20,
            LibraryState::Served,
        ),
        library("cudnn", "libcudnn.so.9", Some("/opt/libcudnn.so.9"), 50 << 20, LibraryState::Duplicate),
        library("cudnn", "libcudnn.so.9", Some("/usr/lib/libcudnn.so.9"), 1, LibraryState::Duplicate),
        library("cufft", "libcufft.so.11", Some("/usr/lib/libcufft.so.11"), 7, LibraryState::Idle),
        library(
            "nccl",
            "libnccl.so.2",
            Some(&format!("/opt/{}/libnccl.so.2", "deep/".repeat(30))),
            9,
            LibraryState::Shadowed,
        ),
        library("nvtx", "libnvToolsExt.so.1", None, 0, LibraryState::Missing),
    ];
    libraries[0].reaches = vec![Reach {
        framework: 0,
        chain: vec![
            step("/opt/torch/_C.so", LoadedBy::Imported),
            step("/usr/lib/libcublas.so.12", LoadedBy::Needed(Search::Cache)),
        ],
    }];
    libraries[1].reaches = vec![Reach { framework: 1, chain: Vec::new() }];
    Graph {
        frameworks: vec![
            GraphFramework { title: "torch 2.6.0".to_owned(), companions: Vec::new(), bytes: 1 << 30 },
            GraphFramework {
                title: "<script>&\"'\u{1}".to_owned(),
                companions: vec!["plugin 1".to_owned()],
                bytes: 10,
            },
        ],
        carriers: vec![Carrier { path: "/opt/torch/_C.so".to_owned(), framework: Some(0), bytes: 200 << 20 }],
        libraries,
        links: vec![
            link(GraphNode::Framework(0), GraphNode::Carrier(0), LoadedBy::Imported),
            link(GraphNode::Framework(1), GraphNode::Library(1), LoadedBy::Required),
            link(GraphNode::Carrier(0), GraphNode::Library(0), LoadedBy::Needed(Search::Cache)),
            link(GraphNode::Carrier(0), GraphNode::Library(5), LoadedBy::Missed),
            link(GraphNode::Library(1), GraphNode::Library(2), LoadedBy::Opened(Search::Runpath)),
        ],
    }
}

/// The graph, with layers whose names are hostile.
fn page() -> html::ImagePage {
    let part = |name: &str, bytes| LayerPart { name: name.to_owned(), bytes };
    let layer = |name: &str, wasted| SizedLayer {
        digest: Digest::of(name),
        bytes: (3 << 20) + wasted,
        wasted,
        parts: vec![part(name, 2 << 20), part("/usr/lib", 1 << 20)],
    };
    let layers = vec![layer("torch", 0), layer("</title><script>", 1 << 20), layer("numpy", 0)];
    html::ImagePage { graph: graph(), gpus: GpuSupport::default(), layers }
}

#[test]
fn a_page_shows_every_layer_and_what_is_wasted() {
    let page = html::render(&page(), "x");
    assert!(
        page.contains(
            "3 layers with files of 10.00 MiB; 1.00 MiB of them replaced or hidden by layers above"
        ),
        "{page}"
    );
    assert!(page.contains("<title>layer 2: 4.00 MiB\nsha256:"));
    assert!(page.contains("fill=\"url(#wasted)\"><title>wasted, 1.00 MiB</title>"));
    assert!(page.contains("&lt;/title&gt;&lt;script&gt;, 2.00 MiB") && !page.contains("</title><script>,"));
    assert!(!html::render(&html::ImagePage::default(), "x").contains("id=\"layers\""));
}

/// Every tag is closed by its own, and every `&` begins an entity.
fn assert_well_formed(xml: &str) {
    let mut open = Vec::new();
    for part in xml.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap_or_else(|| panic!("no end: <{part}"));
        assert!(!text.contains('>'), "{text}");
        if tag.starts_with(['?', '!']) || tag.ends_with('/') {
            continue;
        }
        match tag.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed), "in {part}"),
            None => open.push(tag.split_whitespace().next().unwrap()),
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
    }
    assert!(open.is_empty(), "{open:?}");
    let entities = ["amp;", "lt;", "gt;", "quot;", "#39;"];
    assert!(xml.split('&').skip(1).all(|rest| entities.iter().any(|entity| rest.starts_with(entity))));
    assert!(!xml.contains('\u{1}'));
}

#[test]
fn a_picture_is_well_formed_whatever_the_image_calls_its_files() {
    let picture = svg::render(&graph(), "oci:<a> & b");
    assert_well_formed(&picture);
    assert!(picture.contains("<title id=\"graph-title\">oci:&lt;a&gt; &amp; b</title>"));
    assert!(picture.contains("&lt;script&gt;&amp;&quot;&#39;\u{fffd}"));
    assert!(!html::render(&page(), "x").contains("<script>&"));
    assert_well_formed(&svg::render(&Graph::default(), "nothing"));
}

#[test]
fn a_page_loads_nothing() {
    let page = html::render(&page(), "oci:image");
    let addresses: Vec<&str> = page.split("http").skip(1).collect();
    assert!(addresses.iter().all(|it| it.starts_with("://www.w3.org/2000/svg\"")), "{addresses:?}");
    let page = page.replace("url(#wasted)", "");
    assert!(!page.contains("src=") && !page.contains("@import") && !page.contains("url("));
}

#[test]
fn the_same_graph_gives_the_same_bytes() {
    assert_eq!(svg::render(&graph(), "x"), svg::render(&graph(), "x"));
    assert_eq!(html::render(&page(), "x"), html::render(&page(), "x"));
}

#[test]
fn links_tell_what_is_certain_and_what_code_decides() {
    let picture = svg::render(&graph(), "x");
    // One in the legend.
    assert_eq!(picture.matches("stroke-dasharray").count(), 1 + 2);
    assert!(picture.contains("dlopen, found by DT_RUNPATH"));
    assert!(picture.contains("&gt; /usr/lib/libcublas.so.12 (DT_NEEDED, found in ld.so.cache)"));
    assert!(picture.contains("libnvToolsExt.so.1 (DT_NEEDED, found nowhere)"));
}

#[test]
fn no_card_covers_another_and_text_stays_beside_bars() {
    let layout = Layout::of(&graph());
    let apart = |one: &Card, other: &Card| {
        one.right() <= other.x
            || other.right() <= one.x
            || one.y + one.height <= other.y
            || other.y + other.height <= one.y
    };
    for (index, one) in layout.cards.iter().enumerate() {
        assert!(layout.cards[..index].iter().all(|other| apart(one, other)), "{one:?}");
        assert!(one.right() < layout.width && one.y + one.height < layout.legend, "{one:?}");
        assert!(one.bar <= one.height && one.lines.len() as f64 * layout::LINE <= one.height, "{one:?}");
        let longest = one.lines.iter().map(|line| line.chars().count()).max().unwrap() as f64;
        // A character is 0.602 of the size of the widest font that the picture names.
        assert!(longest * 12.0 * 0.602 <= one.width - layout::BAR - 2.0 * layout::PAD, "{one:?}");
    }
}

#[test]
fn areas_are_as_sizes() {
    let layout = Layout::of(&graph());
    let bar = |index| layout.card(GraphNode::Library(index)).unwrap().bar;
    assert_eq!(bar(0) / bar(1), 2.0);
    assert_eq!(bar(5), 0.0, "what is missing has no size");
    let height = (100 << 20) as f64 / layout.bytes_for_pixel;
    assert!((bar(0) - height).abs() < 1e-9);
}
