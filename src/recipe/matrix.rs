//! A matrix: the axes by which one recipe, or several, become many images.
//!
//! ```yaml
//! recipe: recipe.yaml
//! matrix:
//!   python: ["3.11", "3.12"]
//!   frameworks.torch: ["2.6.0", "2.7.1"]
//!   exclude: [{python: "3.11", frameworks.torch: "2.7.1"}]
//! name: torch{frameworks.torch}-py{python}
//! destination: docker://registry.test/team/{name}:latest
//! ```
//!
//! It is a file of its own, or the key `matrix` of a recipe. `include` and `exclude` mean what they do in GitHub's
//! workflows: <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idstrategymatrixinclude>.

use std::sync::Arc;

use super::decode::{Decode, Fields, entries, refuse_duplicates};
use super::diagnostic::{Diagnostics, Problem, Problems, quote};
use super::name_pattern::NamePattern;
use super::source::{SourceText, Span, Spanned};
use super::yaml::{self, Node, YamlValue};

/// The key of an image's values that names its recipe.
pub(super) const RECIPE: &str = "recipe";

/// A matrix, as it is written.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// The recipe of all images; `None` where it is an axis.
    pub(super) recipe: Option<MatrixRecipe>,
    pub(super) axes: Vec<Axis>,
    pub(super) include: Vec<AxisValues>,
    pub(super) exclude: Vec<AxisValues>,
    pub(super) name: Option<Spanned<NamePattern>>,
    pub(super) destination: Option<Spanned<NamePattern>>,
    /// The place of the axes.
    pub(super) span: Span,
    pub(super) source: Arc<SourceText>,
}

/// The recipe of a matrix.
#[derive(Debug, Clone)]
pub(super) enum MatrixRecipe {
    /// The file that has the matrix.
    Own,
    /// Another file.
    File(Spanned<String>),
}

/// A key of the recipe, and the values that it has one after the other.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    pub key: Spanned<String>,
    pub values: Vec<Node>,
}

/// Values by their keys, in the order written.
#[derive(Debug, Clone, Default)]
pub(super) struct AxisValues(pub Vec<(Spanned<String>, Node)>);

impl AxisValues {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.0.iter().find(|(written, _)| written.value == key).map(|(_, node)| node)
    }
}

impl Matrix {
    /// Reads a matrix, or that of a recipe; `origin` is the file's name for messages. Every problem is reported at once.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Diagnostics> {
        let source = Arc::new(SourceText::new(text, origin));
        let mut problems = Problems::default();
        let root = yaml::read(&source, yaml::LONGEST_TEXT, &mut problems);
        let matrix = root.and_then(|root| match is_recipe(&root) {
            true => Self::of_recipe(&root, &source, &mut problems),
            false => Self::decode(&root, &source, &mut problems),
        });
        problems.finish(matrix, &source)
    }

    /// Has its images go to the places that a pattern gives, in place of its own.
    pub fn go_to(&mut self, pattern: &str) -> Result<(), Diagnostics> {
        match NamePattern::parse(pattern) {
            Ok(value) => {
                self.destination = Some(Spanned { value, span: self.span });
                Ok(())
            }
            Err(complaint) => Err(Diagnostics::one(
                &Arc::new(SourceText::new(pattern, "the pattern of destinations")),
                complaint.anywhere().at(Span { start: 0, end: pattern.len() }),
            )),
        }
    }

    /// Problems that were found after parsing, at their places in this matrix.
    pub(super) fn report(&self, problems: Problems) -> Diagnostics {
        problems.into_diagnostics(&self.source)
    }

    fn of_recipe(root: &Node, source: &Arc<SourceText>, problems: &mut Problems) -> Option<Self> {
        let YamlValue::Mapping(entries) = &root.value else { return None };
        let Some((_, node)) = entries.iter().find(|(key, _)| key.value == "matrix") else {
            let start = Span { start: root.span.start, end: root.span.start };
            let help =
                "add `matrix: {python: [\"3.11\", \"3.12\"]}`, or write a file with `recipe:` and `matrix:`";
            problems.push(Problem::error(start, "this recipe has no `matrix`").help(help));
            return None;
        };
        let axes = MatrixAxes::decode(node, problems)?;
        let (name, destination, source) = (None, None, Arc::clone(source));
        let MatrixAxes { axes, include, exclude } = axes;
        Some(Self {
            recipe: Some(MatrixRecipe::Own),
            axes,
            include,
            exclude,
            name,
            destination,
            span: node.span,
            source,
        })
    }

    fn decode(root: &Node, source: &Arc<SourceText>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(root, "the matrix", problems)?;
        let recipe: Option<Spanned<String>> = fields.get("recipe", problems);
        let recipes: Option<Vec<Spanned<String>>> = fields.get("recipes", problems);
        let matrix: Option<Spanned<MatrixAxes>> = fields.get("matrix", problems);
        let name = fields.get("name", problems);
        let destination = fields.get("destination", problems);
        let span = fields.span();
        fields.finish(problems);
        let (span, MatrixAxes { mut axes, include, exclude }) =
            matrix.map_or((span, MatrixAxes::default()), |axes| (axes.span, axes.value));
        if let Some(recipes) = &recipes {
            refuse_duplicates(recipes, problems, Clone::clone, Clone::clone);
            axes.insert(0, recipe_axis(recipes, root.span));
        }
        let recipe = match (recipe, recipes) {
            (Some(recipe), None) => Some(MatrixRecipe::File(recipe)),
            (None, Some(recipes)) if !recipes.is_empty() => None,
            _ => {
                let start = Span { start: root.span.start, end: root.span.start };
                let help =
                    "name what the images are made of: `recipe: recipe.yaml`, or `recipes: [a.yaml, b.yaml]`";
                problems
                    .push(Problem::error(start, "the matrix needs one of `recipe` and `recipes`").help(help));
                return None;
            }
        };
        Some(Self { recipe, axes, include, exclude, name, destination, span, source: Arc::clone(source) })
    }
}

/// Returns whether a document is a recipe, whose key `matrix` is meant.
fn is_recipe(root: &Node) -> bool {
    matches!(&root.value, YamlValue::Mapping(entries) if entries.iter().any(|(key, _)| key.value == "base"))
}

fn recipe_axis(recipes: &[Spanned<String>], span: Span) -> Axis {
    let value = |recipe: &Spanned<String>| Node::new(recipe.span, YamlValue::Scalar(recipe.value.clone()));
    Axis { key: Spanned { value: RECIPE.to_owned(), span }, values: recipes.iter().map(value).collect() }
}

/// The key `matrix`: axes, and what is added to their combinations or left out of them.
#[derive(Debug, Clone, Default)]
struct MatrixAxes {
    axes: Vec<Axis>,
    include: Vec<AxisValues>,
    exclude: Vec<AxisValues>,
}

impl Decode for MatrixAxes {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut matrix = Self::default();
        for (key, value) in entries(node, "the axes, each with its values", problems)? {
            match key.as_str() {
                "include" => matrix.include = Decode::decode(value, problems).unwrap_or_default(),
                "exclude" => matrix.exclude = Decode::decode(value, problems).unwrap_or_default(),
                RECIPE | "recipes" => problems.push(
                    Problem::error(key.span, format!("{} is no axis", quote(key)))
                        .help("write `recipes: [a.yaml, b.yaml]` beside `matrix`, not in it"),
                ),
                "name" => problems.push(
                    Problem::error(key.span, "`name` is no axis: every image has one of its own")
                        .help("write `name:` with a pattern beside `matrix`, not in it"),
                ),
                _ => matrix.axes.extend(axis(key, value, problems)),
            }
        }
        check_keys(&matrix, problems);
        Some(matrix)
    }
}

fn axis(key: &Spanned<String>, value: &Node, problems: &mut Problems) -> Option<Axis> {
    let key = key.clone();
    match &value.value {
        YamlValue::Sequence(values) if !values.is_empty() => Some(Axis { key, values: values.clone() }),
        YamlValue::Sequence(_) => {
            let problem = Problem::error(value.span, format!("the axis {} has no values", quote(&key)));
            problems.push(problem.help("list some, or leave the axis out"));
            None
        }
        _ => {
            let message = format!("expected the values of {} as a list, found {}", quote(&key), value.kind());
            let help = match &value.value {
                YamlValue::Scalar(text) => format!("write a list: `{}: [{text:?}]`", key.value),
                YamlValue::Mapping(_) => format!("write the key by its path: `{}.KEY: [...]`", key.value),
                _ => "write a list: `- ` before each value".to_owned(),
            };
            problems.push(Problem::error(value.span, message).help(help));
            None
        }
    }
}

/// Refuses to leave out what no axis can give.
fn check_keys(matrix: &MatrixAxes, problems: &mut Problems) {
    let known = |key: &str| key == RECIPE || matrix.axes.iter().any(|axis| axis.key.value == key);
    for (key, _) in matrix.exclude.iter().flat_map(|values| &values.0).filter(|(key, _)| !known(key)) {
        let problem =
            Problem::error(key.span, format!("there is no axis {} to leave something out of", quote(key)));
        let axes: Vec<String> = matrix.axes.iter().map(|axis| quote(&axis.key)).collect();
        problems.push(problem.help(format!("the axes are {}", axes.join(", "))));
    }
    for (key, value) in matrix.exclude.iter().flat_map(|values| &values.0) {
        let Some(axis) = matrix.axes.iter().find(|axis| axis.key.value == key.value) else { continue };
        if !axis.values.iter().any(|node| node.says(value)) {
            let (written, values) = (value.told(), axis.values.iter().map(|node| quote(&node.told())));
            let message =
                format!("{} is not a value of {}: it leaves nothing out", quote(&written), quote(key));
            let help = format!("the values are {}", values.collect::<Vec<_>>().join(", "));
            problems.push(Problem::error(value.span, message).help(help));
        }
    }
}

impl Decode for AxisValues {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        Some(Self(entries(node, "values by their keys", problems)?.to_vec()))
    }
}
