//! The images of a [`Matrix`]: the combinations of its axes, each with a name of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::diagnostic::{Diagnostics, Problem, Problems, quote};
use super::image::ImageName;
use super::matrix::{Axis, AxisValues, Matrix, MatrixRecipe, RECIPE};
use super::name_pattern::{NamePattern, in_names};
use super::source::{Span, Spanned};
use super::suggest::closest;
use super::values::RecipeValues;
use super::yaml::{Node, YamlValue};

/// The images of one matrix: plans of so many take minutes.
const MOST_IMAGES: usize = 10_000;

/// An image of a matrix.
#[derive(Debug, Clone)]
pub struct MatrixImage {
    /// Its name, which no other image of the matrix has.
    pub name: String,
    /// The path of its recipe as it is written; `None` where the matrix is the recipe's own.
    pub recipe: Option<String>,
    /// The values that are set in the recipe.
    pub values: RecipeValues,
    /// The same for people, by their keys: the recipe, where it is an axis, then the others.
    pub shown: Vec<(String, String)>,
    /// The text of its destination, where the matrix has a pattern.
    pub destination: Option<String>,
}

/// The values of one image.
struct Combination {
    /// Those of the axes.
    original: AxisValues,
    /// Those that `include` adds.
    added: AxisValues,
}

impl Combination {
    fn of_axes(original: AxisValues) -> Self {
        Self { original, added: AxisValues::default() }
    }

    fn get(&self, key: &str) -> Option<&Node> {
        self.added.get(key).or_else(|| self.original.get(key))
    }

    fn all(&self) -> impl Iterator<Item = &(Spanned<String>, Node)> {
        self.original.0.iter().chain(&self.added.0)
    }

    /// Returns whether it has each of `values`; with `lacking` also where it has none for a key.
    fn agrees(&self, values: &AxisValues, lacking: bool) -> bool {
        let agrees = |(key, node): &(Spanned<String>, Node)| {
            self.original.get(key).map_or(lacking, |own| own.says(node))
        };
        values.0.iter().all(agrees)
    }

    fn add(&mut self, values: &AxisValues) {
        for (key, node) in &values.0 {
            self.added.0.retain(|(written, _)| written.value != key.value);
            if self.original.get(key).is_none() {
                self.added.0.push((key.clone(), node.clone()));
            }
        }
    }
}

impl Matrix {
    /// Its images, in the order of its axes; `stem` is the name of its own file without extension.
    pub fn images(&self, stem: &str) -> Result<Vec<MatrixImage>, Diagnostics> {
        let mut problems = Problems::default();
        let combinations = self.combinations(&mut problems);
        let images =
            combinations.iter().filter_map(|combination| self.image(combination, stem, &mut problems));
        let images: Vec<MatrixImage> = images.collect();
        if combinations.is_empty() && problems.is_empty() {
            let problem = Problem::error(self.span, "the matrix has no images");
            problems.push(problem.help("give an axis values, and leave less of them out"));
        }
        self.refuse_equal(&images, &mut problems);
        match problems.is_empty() {
            true => Ok(images),
            false => Err(self.report(problems)),
        }
    }

    /// A problem with the destination of an image.
    pub fn report_destination(&self, message: String, help: Option<String>) -> Diagnostics {
        let span = self.destination.as_ref().map_or(self.span, |pattern| pattern.span);
        let mut problems = Problems::default();
        let problem = Problem::error(span, message);
        problems.push(match help {
            Some(help) => problem.help(help),
            None => problem,
        });
        self.report(problems)
    }

    /// A problem with the path of a recipe.
    pub fn report_recipe(&self, image: &MatrixImage, message: String, help: &str) -> Diagnostics {
        let of_axis = || self.axes.iter().find(|axis| axis.key.value == RECIPE);
        let is_it = |node: &&Node| node.told() == image.recipe.clone().unwrap_or_default();
        let span = match &self.recipe {
            Some(MatrixRecipe::File(recipe)) => recipe.span,
            Some(MatrixRecipe::Own) => self.span,
            None => of_axis().and_then(|axis| axis.values.iter().find(is_it)).map_or(self.span, |it| it.span),
        };
        let mut problems = Problems::default();
        problems.push(Problem::error(span, message).help(help));
        self.report(problems)
    }

    fn combinations(&self, problems: &mut Problems) -> Vec<Combination> {
        let count = self.axes.iter().try_fold(1_usize, |count, axis| count.checked_mul(axis.values.len()));
        if count.is_none_or(|count| count + self.include.len() > MOST_IMAGES) {
            let problem = Problem::error(self.span, format!("the matrix has more than {MOST_IMAGES} images"));
            problems.push(problem.help("split it into several files"));
            return Vec::new();
        }
        let mut combinations = match (self.axes.is_empty(), self.include.is_empty()) {
            (true, false) => Vec::new(),
            _ => product(&self.axes).into_iter().map(Combination::of_axes).collect::<Vec<_>>(),
        };
        let is_left_out = |it: &Combination| self.exclude.iter().any(|values| it.agrees(values, false));
        combinations.retain(|combination| !is_left_out(combination));
        let of_axes = combinations.len();
        for values in &self.include {
            let mut is_added = false;
            for combination in combinations[..of_axes].iter_mut().filter(|it| it.agrees(values, true)) {
                combination.add(values);
                is_added = true;
            }
            if !is_added {
                combinations.push(Combination::of_axes(values.clone()));
            }
        }
        combinations
    }

    fn image(&self, values: &Combination, stem: &str, problems: &mut Problems) -> Option<MatrixImage> {
        let recipe = self.recipe_of(values, problems)?;
        let stem = recipe.as_deref().map_or(stem, file_stem);
        let named = |key: &str| match key {
            RECIPE => Some(in_names(stem)),
            key => {
                values.get(key).map(Node::told).map(|text| in_names(&text)).filter(|text| !text.is_empty())
            }
        };
        let span = self.name.as_ref().map_or(self.span, |name| name.span);
        let name = match &self.name {
            Some(pattern) => self.filled(pattern, named, problems)?,
            None => default_name(stem, values),
        };
        if ImageName::new(&name).is_none() {
            let problem = Problem::error(span, format!("{} is not a name for an image", quote(&name)));
            problems.push(
                problem.help("write a pattern of small letters, digits and axes: `name: demo-{python}`"),
            );
            return None;
        }
        let in_destination = |key: &str| if key == "name" { Some(name.clone()) } else { named(key) };
        let destination = self.destination.as_ref();
        let destination = match destination.map(|pattern| self.filled(pattern, in_destination, problems)) {
            Some(None) => return None,
            Some(filled) => filled,
            None => None,
        };
        let shown = values.all().map(|(key, node)| (key.value.clone(), node.told())).collect();
        let mut set: Vec<_> = values.all().filter(|(key, _)| key.value != RECIPE).cloned().collect();
        let own_name = Node::new(span, YamlValue::Scalar(name.clone()));
        set.push((Spanned { value: "name".to_owned(), span }, own_name));
        let values = RecipeValues::new(Arc::clone(&self.source), set);
        Some(MatrixImage { name, recipe, values, shown, destination })
    }

    /// The path of the recipe of an image; `None` within where it is the matrix's own file.
    fn recipe_of(&self, values: &Combination, problems: &mut Problems) -> Option<Option<String>> {
        match (&self.recipe, values.get(RECIPE)) {
            (Some(MatrixRecipe::Own), None) => Some(None),
            (Some(MatrixRecipe::File(recipe)), None) => Some(Some(recipe.value.clone())),
            (None, Some(node)) => Some(Some(node.told())),
            (Some(_), Some(node)) => {
                let problem = Problem::error(node.span, "all images of this matrix are made of one recipe");
                problems.push(problem.help("list the recipes: `recipes: [a.yaml, b.yaml]`"));
                None
            }
            (None, None) => {
                let span = values.all().next().map_or(self.span, |(key, _)| key.span);
                let problem = Problem::error(span, "this image names no recipe");
                problems.push(problem.help("add `recipe:` with one of `recipes` to it"));
                None
            }
        }
    }

    fn filled(
        &self,
        pattern: &Spanned<NamePattern>,
        value_of: impl Fn(&str) -> Option<String>,
        problems: &mut Problems,
    ) -> Option<String> {
        match pattern.filled(value_of) {
            Ok(text) => Some(text),
            Err(key) => {
                problems.push(self.no_value(key, pattern.span));
                None
            }
        }
    }

    fn no_value(&self, key: &str, span: Span) -> Problem {
        let axes: Vec<&str> = self.axes.iter().map(|axis| axis.key.as_str()).chain([RECIPE]).collect();
        let help = match closest(key, &axes) {
            Some(near) if near != key => format!("did you mean `{{{near}}}`?"),
            _ => "name axes that all images have, and whose values have letters or digits; `{recipe}` is the recipe's file, \
                  `{name}` in a destination the image"
                .to_owned(),
        };
        Problem::error(span, format!("an image has no value of {} for this pattern", quote(key))).help(help)
    }

    /// Refuses names and destinations that several images have.
    fn refuse_equal(&self, images: &[MatrixImage], problems: &mut Problems) {
        let place = |pattern: &Option<Spanned<NamePattern>>| pattern.as_ref().map_or(self.span, |it| it.span);
        let mut seen = BTreeSet::new();
        if let Some(image) = images.iter().find(|image| !seen.insert(&image.name)) {
            let problem = Problem::error(
                place(&self.name),
                format!("several images are called {}", quote(&image.name)),
            );
            problems.push(problem.help(format!("name every axis in it: `name: {}`", self.full_name())));
        }
        let mut seen = BTreeSet::new();
        let equal = images.iter().filter_map(|image| image.destination.as_ref());
        if let Some(destination) = equal.into_iter().find(|destination| !seen.insert(*destination)) {
            let problem = format!("several images go to {}", quote(destination));
            let problem = Problem::error(place(&self.destination), problem);
            problems.push(problem.help("name the image in it: `{name}`"));
        }
    }

    /// A pattern with every axis.
    fn full_name(&self) -> String {
        let axes = self.axes.iter().map(|axis| axis.key.as_str()).filter(|key| *key != RECIPE);
        std::iter::once(RECIPE).chain(axes).map(|key| format!("{{{key}}}")).collect::<Vec<_>>().join("-")
    }
}

/// Every combination of the values of `axes`, where the last axis changes first.
fn product(axes: &[Axis]) -> Vec<AxisValues> {
    axes.iter().fold(vec![AxisValues::default()], |combinations, axis| {
        let with = |values: AxisValues, node: &Node| {
            let mut values = values;
            values.0.push((axis.key.clone(), node.clone()));
            values
        };
        let longer = |values: AxisValues| axis.values.iter().map(move |node| with(values.clone(), node));
        combinations.into_iter().flat_map(longer).collect()
    })
}

/// The recipe's name, and behind it the value of each axis.
fn default_name(stem: &str, values: &Combination) -> String {
    let axes = values.original.0.iter().filter(|(key, _)| key.value != RECIPE);
    let parts = std::iter::once(in_names(stem)).chain(axes.map(|(_, node)| in_names(&node.told())));
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

/// The name of the file at a path, without its extension.
fn file_stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

#[cfg(test)]
mod tests {
    use super::super::{Color, Recipe};
    use super::*;

    fn names(text: &str) -> Result<Vec<String>, String> {
        let matrix = Matrix::parse(text, "matrix.yaml").map_err(|it| it.render(Color::Plain))?;
        let images = matrix.images("matrix").map_err(|it| it.render(Color::Plain))?;
        Ok(images.into_iter().map(|image| image.name).collect())
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(names(text).unwrap(), expected, "{text}");
    }

    #[track_caller]
    fn refuse(text: &str, said: &[&str]) {
        let refused = names(text).unwrap_err();
        for said in said {
            assert!(refused.contains(said), "`{said}` is not said:\n{refused}");
        }
    }

    #[test]
    fn every_combination_is_an_image() {
        check(
            "recipe: demo.yaml\nmatrix: {python: [\"3.11\", \"3.12\"], frameworks.torch: [\"2.6.0\", \">=2.7\"]}\n",
            &["demo-3.11-2.6.0", "demo-3.11-2.7", "demo-3.12-2.6.0", "demo-3.12-2.7"],
        );
        check("recipes: [a.yaml, sub/b.yaml]\n", &["a", "b"]);
        check("base: x\npackages: [y]\nmatrix: {python: [3.11]}\n", &["matrix-3.11"]);
        check(
            "recipe: demo.yaml\nmatrix: {platform: [linux/amd64]}\nname: x-{platform}\n",
            &["x-linux-amd64"],
        );
    }

    #[test]
    fn include_and_exclude_are_those_of_github() {
        // The example of its documentation.
        let text = "recipe: r.yaml\nmatrix:\n  fruit: [apple, pear]\n  animal: [cat, dog]\n  include:\n    - {color: green}\n    \
                    - {color: pink, animal: cat}\n    - {fruit: apple, shape: circle}\n    - {fruit: banana}\n    \
                    - {fruit: banana, animal: cat}\n";
        let matrix = Matrix::parse(text, "matrix.yaml").unwrap();
        let images = matrix.images("matrix").unwrap();
        let shown: Vec<String> = images
            .iter()
            .map(|image| image.shown.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            shown,
            [
                "apple cat pink circle",
                "apple dog green circle",
                "pear cat pink",
                "pear dog green",
                "banana",
                "banana cat"
            ]
        );
        check(
            "recipe: r.yaml\nmatrix: {a: [1, 2], b: [3, 4], exclude: [{a: 1, b: 4}, {a: 2}]}\n",
            &["r-1-3"],
        );
        check("recipe: r.yaml\nmatrix: {include: [{a: 1}, {b: 2, a: 3}]}\n", &["r-1", "r-2-3"]);
    }

    #[test]
    fn a_matrix_that_makes_no_sense_is_refused_at_its_place() {
        refuse("matrix: {python: [3.11]}\n", &["needs one of `recipe` and `recipes`"]);
        refuse(
            "recipe: r.yaml\nmatrix: {python: 3.11}\n",
            &["found a single value", "`python: [\"3.11\"]`", "2:18"],
        );
        refuse("recipe: r.yaml\nmatrix: {python: []}\n", &["has no values"]);
        refuse(
            "recipe: r.yaml\nmatrix: {python: [3.11], exclude: [{pyton: 3.11}]}\n",
            &["no axis `pyton`", "`python`"],
        );
        refuse(
            "recipe: r.yaml\nmatrix: {python: [3.11, 3.12]}\nname: demo\n",
            &["several images are called `demo`", "`name: {recipe}-{python}`", "3:7"],
        );
        refuse("recipe: r.yaml\nmatrix: {python: [3.11]}\nname: demo-{pyton}\n", &["no value of `pyton`"]);
        refuse(
            "recipe: r.yaml\nmatrix: {python: [3.11]}\nname: \"{recipe}_-{python}\"\n",
            &["`r_-3.11` is not a name"],
        );
        refuse(
            "recipe: r.yaml\nmatrix: {a: [1, 2]}\ndestination: oci:out\n",
            &["several images go to `oci:out`", "`{name}`"],
        );
        refuse("recipe: r.yaml\nmatrix: {a: [1], exclude: [{a: 1}]}\n", &["the matrix has no images"]);
        refuse(
            "recipe: r.yaml\nmatrix: {a: [1, 2], exclude: [{a: 3}]}\n",
            &["`3` is not a value of `a`", "the values are `1`, `2`", "2:35"],
        );
        refuse(
            "recipes: [a.yaml]\nmatrix: {include: [{x: 1}, {recipe: b.yaml, x: 2}]}\nname: \"{recipe}\"\naxes: 1\n",
            &["unknown key `axes`"],
        );
        let many = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]";
        refuse(
            &format!("recipe: r.yaml\nmatrix: {{a: {many}, b: {many}, c: {many}, d: {many}, e: [1, 2]}}\n"),
            &["more than 10000 images"],
        );
    }

    #[test]
    fn values_take_the_place_of_the_recipes_own() {
        let text = "recipe: r.yaml\nmatrix:\n  python: [3.12]\n  platform: [linux/arm64]\n  cuda.policy: [cpu]\n  frameworks.torch: [2.6.0]\n  config: [null]\n";
        let images = Matrix::parse(text, "m.yaml").unwrap().images("m").unwrap();
        let recipe = "base: debian-bookworm\npython: 3.11\nframeworks: {torch: 2.5.0, jax: 0.5.3}\nconfig: {user: me}\n";
        let recipe = Recipe::parse_with(recipe, "r.yaml", &images[0].values).unwrap();
        let json = serde_json::to_value(&recipe).unwrap();
        assert_eq!(json["name"], "r-3.12-linux-arm64-cpu-2.6.0-none");
        assert_eq!(json["python"]["version"], "3.12");
        assert_eq!(json["platforms"], serde_json::json!(["arm64"]));
        assert_eq!(json["config"]["user"], serde_json::Value::Null);
        assert_eq!(json["cuda"]["policy"], "cpu");
        assert_eq!(recipe.frameworks.len(), 2);
    }

    #[test]
    fn problems_of_values_are_told_where_they_are_written() {
        let check = |matrix: &str, recipe: &str, said: &[&str]| {
            let images = Matrix::parse(matrix, "m.yaml").unwrap().images("m").unwrap();
            let refused = Recipe::parse_with(recipe, "r.yaml", &images[0].values).unwrap_err();
            let shown = refused.render(Color::Plain);
            for said in said {
                assert!(shown.contains(said), "`{said}` is not said:\n{shown}");
            }
        };
        let recipe = "base: debian-bookworm\npackages: [numpy]\n";
        check("recipe: r.yaml\nmatrix:\n  pyton: [3.11]\n", recipe, &["unknown key `pyton`", "m.yaml:3:3"]);
        check("recipe: r.yaml\nmatrix:\n  cuda.policy: [none]\nname: x\n", recipe, &["m.yaml:3:17", "none"]);
        check("recipe: r.yaml\nmatrix:\n  frameworks.numpy: [1]\n", recipe, &["numpy"]);
        check(
            "recipe: r.yaml\nmatrix:\n  packages.a: [1]\n",
            recipe,
            &["`packages.a` cannot be set", "m.yaml:3:3"],
        );
        check(
            "recipe: r.yaml\nmatrix:\n  python: [3.11]\n",
            "packages: [numpy]\n",
            &["needs the key `base`", "r.yaml:1:1"],
        );
    }
}
